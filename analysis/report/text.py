"""Labels of figures without LaTeX, for places that do not typeset it."""

from __future__ import annotations

import re

_SYMBOLS = {
    "geq": "≥", "leq": "≤", "eta": "η", "mu": "μ", "psi": "ψ", "Upsilon": "Υ", "gamma": "γ",
    "sigma": "σ", "phi": "φ", "tau": "τ", "nu": "ν", "to": "→", "rightarrow": "→", "times": "×",
}  # fmt: skip


def plain(label: str) -> str:
    """A label with its LaTeX as Unicode: `$t\\bar{t}$` is tt̄, `$p_T$` is p_T."""
    text = re.sub(r"\\bar\s*\{?(\w)\}?", "\\1\u0304", label)
    text = re.sub(r"\\([A-Za-z]+)\s?", lambda match: _SYMBOLS.get(match[1], ""), text)
    return re.sub(r"[${}\\]", "", text)
