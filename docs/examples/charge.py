"""`cms` with each category split by the lepton's charge: the fit compares σ(tt̄) of both, which are one.

python run.py --analysis docs/examples/charge.py --output charge
"""

from dataclasses import replace

from analysis import TtbarAnalysis
from analysis.presets.cms import CMS, REGIONS

SIGNS = {"plus": 1, "minus": -1}


def apart(regions):
    """Name the categories of both charges."""
    return [f"{region}_{sign}" for region in regions for sign in SIGNS]


def of_charge(sign):
    return lambda selection: selection.lepton.charge == SIGNS[sign]


def with_charges(line):
    """Let what the model says of regions hold for both charges."""
    return {**line, "regions": apart(line["regions"])} if "regions" in line else line


categories = [
    replace(
        region, name=f"{region.name}_{sign}", where=(*region.where, of_charge(sign)),
        uses=region.uses | {"lepton.charge"}, label=f"{region.label}, {sign}",
    )
    for region in REGIONS
    for sign in SIGNS
]  # fmt: skip
model = {
    **with_charges(CMS.model),
    # A top quark of the t-channel gives positive leptons only, an antiquark negative ones.
    "processes": ["ttbar", "single_top_tW", "wjets"],
    "binnings": {f"{r}_{sign}": b for r, b in CMS.model["binnings"].items() for sign in SIGNS},
    "cross_section_uncertainties": {
        name: with_charges(line) for name, line in CMS.model["cross_section_uncertainties"].items()
    },
    "splits": {
        "charge": {sign: [c.name for c in categories if c.name.endswith(sign)] for sign in SIGNS}
    },
}
analysis = TtbarAnalysis(preset=CMS._replace(regions=lambda _: categories, model=model)).called(
    "cms by charge"
)
