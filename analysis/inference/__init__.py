"""From templates to a cross section: HistFactory workspaces, their checks, fits and limits."""
