"""`run.py limit`: how much of somebody else's signal the data allow."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cli import options
from analysis.common.errors import ConfigError
from analysis.common.folders import workspace_file

if TYPE_CHECKING:
    from analysis.inference.limit import Limit

SUMMARY = "strength and CLs upper limit of a signal of yours on top of a fitted model"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder where 'fit' left its workspace, or a .json workspace",
    )
    parser.add_argument(
        "--signal",
        type=Path,
        required=True,
        metavar="FILE.root",
        help="weighted events: a histogram named as each channel of the model that it is in, in the "
        "bins of the model",
    )
    parser.add_argument("--sum-of-weights", type=float, required=True, metavar="X")
    parser.add_argument(
        "--cross-section", required=True, metavar="X", help="in pb or with a unit: '44.837 fb'"
    )
    parser.add_argument(
        "--luminosity",
        metavar="L",
        help="in 1/pb or with a unit: '2.3 /fb' (default: that of the fitted run)",
    )
    for name in ("filter-efficiency", "k-factor"):
        parser.add_argument(f"--{name}", type=float, default=1.0, metavar="X")
    parser.add_argument("--level", type=float, default=0.95, help="(default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="the numbers, and a figure of the same name beside (default: limit.json and "
        "figures/limit of the results folder; nothing for a workspace)",
    )
    options.add_toys(parser, "limits")
    parser.add_argument("--force", action="store_true", help="in spite of errors in the model")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    if not 0.5 < arguments.level < 1:
        msg = f"--level: expected a number between 0.5 and 1, got {arguments.level}"
        raise ConfigError(msg)
    file = workspace_file(arguments.source)

    from analysis.inference import tables, workspace
    from analysis.inference.limit import read_signal, upper_limit

    spec = workspace.load(file)
    fitted = tables.beside(file, spec)
    binning = None if fitted is None else fitted.binning
    if binning is None:
        logger.warning(
            "the edges of the signal's bins are not compared: %s has none, and no fit is beside it "
            "that knows them", file,
        )  # fmt: skip
    own, overflow = ({}, False) if fitted is None else (fitted.binnings, fitted.overflow)
    signal = read_signal(arguments.signal, spec, binning, own, overflow=overflow)
    rate = options.signal_rate(arguments, {} if fitted is None else fitted.luminosity_ipb)
    limit = upper_limit(
        spec, signal, rate, arguments.level, force=arguments.force, toys=options.toys(arguments)
    )  # fmt: skip
    for remark in limit.remarks:
        logger.warning("%s", remark)
    _write(limit, arguments)
    _show(limit)


def _write(limit: Limit, arguments: argparse.Namespace) -> None:
    """The numbers and the figure, where they are wanted."""
    from analysis import results
    from analysis.common.files import write_json
    from analysis.plotting.limit import make_figure

    source: Path = arguments.source
    if arguments.output is not None:
        output, figure = arguments.output, arguments.output.with_suffix("")
    elif source.is_dir():
        output, figure = source / results.LIMIT, source / results.FIGURES / "limit"
    else:
        return
    write_json(output, limit.model_dump(mode="json"))
    make_figure(limit, f"{source.name} + {arguments.signal.name}", figure.parent, figure.name)


def _show(limit: Limit) -> None:
    from analysis.common.tables import show

    values: list[tuple[str, float | None]] = [
        ("best fit", limit.strength),
        ("its error", limit.strength_error),
        *_limits("", limit.level, limit.observed, limit.expected),
    ]
    if limit.toys is not None:
        toys = limit.toys
        values += _limits(f", {toys.toys} toys", limit.level, toys.observed, toys.expected)
        values.append(("statistical error of the observed one", toys.observed_error))
    rows = [
        [name, *("-" if x is None else f"{x * unit:.4g}" for unit in (1.0, limit.cross_section_pb))]
        for name, x in values
    ]
    rows.append(["significance, in standard deviations", f"{limit.significance:.2f}", ""])
    show(["", "strength", "σ [pb]"], rows)


def _limits(
    how: str, level: float, observed: float, expected: Sequence[float | None]
) -> list[tuple[str, float | None]]:
    low, _, middle, _, high = expected
    return [
        (f"observed limit, {level:.0%} CL{how}", observed),
        (f"expected limit{how}", middle),
        ("expected, -2 standard deviations", low),
        ("expected, +2 standard deviations", high),
    ]
