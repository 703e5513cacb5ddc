"""What can go wrong between templates and a number."""

from __future__ import annotations

from analysis.errors import AnalysisError


class WorkspaceError(AnalysisError):
    """A file that is no workspace, or templates that cannot make one."""


class FitError(AnalysisError):
    """A fit that did not converge: there is no number to report."""
