"""What a process that is started has, without anything that takes time to import."""

from __future__ import annotations

import sys


def tell(pipe: object) -> None:
    """Send whether the main module is a script, and the module path."""
    pipe.send((hasattr(sys.modules["__main__"], "__file__"), sys.path))  # type: ignore[attr-defined]
