"""A small simulation: Pythia 8 -> anti-kT jets -> parametric detector response -> POET ntuples.

The way of an event: `processes` (what to generate) -> `generator` (one seeded Pythia per block) ->
`particles` (columns of what matters) -> `response` (what a detector makes of it) -> `layout`
(branches of the POET files) -> `run` (blocks, workers, resuming, files and catalogue).
`pseudodata` mixes independent sets into something that looks like collisions, `sample` makes the
bundled sample, `dimuon` the dimuon trees, `validation` compares with CMS full simulation.
"""
