"""The measurement as a HEPData submission: YAML tables and the archive to upload."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.common.errors import OutputError
from analysis.common.extras import require_extra
from analysis.common.files import writable_folder
from analysis.common.names import file_names, public
from analysis.config import Binning
from analysis.inference.config import TTBAR
from analysis.inference.fit import Yields
from analysis.inference.impacts import LUMINOSITY, STATISTICAL, SYSTEMATIC
from analysis.inference.measurement import Measurement
from analysis.inference.tables import definition

ARCHIVE = "submission.tar.gz"


def write(measurement: Measurement, folder: Path) -> Path:
    """Write the submission to the folder, checked by HEPData's own validator; return its archive.

    Bins are numbered where nobody knows their edges. Raises ConfigError without `hepdata_lib`, and OutputError if the submission is not valid.
    """
    require_extra("hepdata", "a HEPData submission")
    from hepdata_lib import Submission

    submission = Submission()
    submission.comment = f"Fit of {public(measurement.source)} to {measurement.observed}"
    tables = [
        _result(measurement), _uncertainties(measurement), _parameters(measurement),
        _correlations(measurement),
    ]  # fmt: skip
    if any(impact.known for impact in measurement.ranking):
        tables.append(_impacts(measurement))
    names = file_names((yields.channel,) for yields in measurement.fit.yields)
    tables += [
        _yields(name, yields, measurement.binnings.get(yields.channel, measurement.binning))
        for name, yields in zip(names, measurement.fit.yields, strict=True)
    ]
    for table in tables:
        submission.add_table(table)
    folder = writable_folder(folder).resolve()
    # The library writes the archive to the working directory.
    with contextlib.chdir(folder):
        try:
            submission.create_files(str(folder), validate=True)
        except AssertionError as error:
            msg = f"{folder}: HEPData's validator refuses the submission: {error}"
            raise OutputError(msg) from error
    return folder / ARCHIVE


def _result(measurement: Measurement) -> Any:
    section, fit = measurement.cross_section, measurement.fit
    up = fit.error if fit.error_up is None else fit.error_up
    down = fit.error if fit.error_down is None else fit.error_down
    table = _table(
        "Result", f"Cross section {_quantity(measurement)}, and its ratio to the prediction."
    )
    quantities, values = [f"{_quantity(measurement)} [pb]", fit.poi], [section.value, fit.value]
    parts = {
        name: [getattr(section, name), getattr(section, name) / section.reference]
        for name in (STATISTICAL, SYSTEMATIC, LUMINOSITY)
    }
    ends = [(-down * scale, up * scale) for scale in (section.reference, 1.0)]
    if (seen := measurement.visible) is not None:
        quantities.append(f"visible {quantities[0]}")
        values.append(seen.value)
        ends.append((-seen.error, seen.error))
        for name, errors in parts.items():
            errors.append(getattr(seen, name))
    table.add_variable(_independent("Quantity", quantities))
    shown = _dependent("Value", values)
    for name, errors in parts.items():
        _add_errors(shown, name, errors)
    table.add_variable(shown)
    total = _dependent("Value, with the total (MINOS) error", values)
    _add_errors(total, "total", ends)
    table.add_variable(total)
    return table


def _quantity(measurement: Measurement) -> str:
    return r"$\sigma(t\bar{t})$" if measurement.signal == TTBAR else measurement.quantity


def _uncertainties(measurement: Measurement) -> Any:
    table = _table("Uncertainties", f"Parts of the error. {definition(measurement)}")
    parts = measurement.uncertainties_pb
    table.add_variable(_independent("Source", list(parts)))
    table.add_variable(_dependent(f"Error of {_quantity(measurement)} [pb]", list(parts.values())))
    return table


def _parameters(measurement: Measurement) -> Any:
    table = _table("Parameters", "All parameters at the best fit.")
    shown = measurement.fit.parameters
    table.add_variable(_independent("Parameter", [p.name for p in shown]))
    values = _dependent("Value", [p.value for p in shown])
    _add_errors(values, "total", [p.error for p in shown])
    table.add_variable(values)
    return table


def _correlations(measurement: Measurement) -> Any:
    table = _table("Correlations", "Correlation matrix of all parameters.")
    names = [p.name for p in measurement.fit.parameters]
    pairs = list(itertools.product(names, names))
    table.add_variable(_independent("Parameter 1", [one for one, _ in pairs]))
    table.add_variable(_independent("Parameter 2", [other for _, other in pairs]))
    values = [x for row in measurement.fit.correlation for x in row]
    table.add_variable(_dependent("Correlation", values))
    return table


def _impacts(measurement: Measurement) -> Any:
    table = _table(
        "Impacts",
        f"Change of {measurement.fit.poi} with a parameter moved by its error and held, others "
        "refitted; the error is that before (pre-fit) or after the fit (post-fit).",
    )
    known = [impact for impact in measurement.ranking if impact.known]
    table.add_variable(_independent("Parameter", [impact.name for impact in known]))
    for when, direction in itertools.product(("postfit", "prefit"), ("up", "down")):
        values = [getattr(impact, f"{when}_{direction}") for impact in known]
        table.add_variable(_dependent(f"{when}, {direction}", values))
    return table


def _yields(name: str, yields: Yields, binning: Binning | None) -> Any:
    """Tabulate a channel; hepdata_lib makes a file of the `name`."""
    table = _table(
        f"Yields {name}",
        f"Events of channel {yields.channel}: observed, and predicted before and after the fit.",
    )
    bins = len(yields.data)
    if binning is not None and binning.bins == bins:
        edges = np.linspace(binning.low, binning.high, bins + 1).tolist()
        table.add_variable(_independent("Observable", list(itertools.pairwise(edges)), "GeV"))
    else:
        table.add_variable(_independent("Bin", list(range(1, bins + 1))))
    observed = _dependent("Observed", yields.data)
    # Counts are written to the event; numbers that were computed have five digits.
    observed.digits = 15
    table.add_variable(observed)
    for when in ("prefit", "postfit"):
        samples = getattr(yields, when)
        total = _dependent(f"Prediction, {when}", np.sum(samples, axis=0).tolist())
        _add_errors(total, "total", getattr(yields, f"{when}_error"))
        table.add_variable(total)
        for sample, values in zip(yields.samples, samples, strict=True):
            table.add_variable(_dependent(f"{sample}, {when}", values))
    return table


def _table(name: str, description: str) -> Any:
    from hepdata_lib import Table

    table = Table(name)
    table.description = description
    table.location = "Fit"
    return table


def _independent(name: str, values: Sequence[Any], units: str = "") -> Any:
    from hepdata_lib import Variable

    binned = isinstance(values[0], tuple)
    return Variable(name, is_independent=True, is_binned=binned, units=units, values=values)


def _dependent(name: str, values: Sequence[float]) -> Any:
    from hepdata_lib import Variable

    return Variable(
        name, is_independent=False, is_binned=False, values=values, zero_uncertainties_warning=False
    )


def _add_errors(variable: Any, label: str, errors: Sequence[Any]) -> None:
    """Add an uncertainty to each value: a number, or a pair of the negative and the positive one."""
    from hepdata_lib import Uncertainty

    uncertainty = Uncertainty(label, is_symmetric=not isinstance(errors[0], tuple))
    uncertainty.values = list(errors)
    variable.add_uncertainty(uncertainty)
