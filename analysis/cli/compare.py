"""`run.py compare`: a run's histograms beside those of the Analysis Grand Challenge, or of another run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cli import options

if TYPE_CHECKING:
    from analysis.postprocess.agc_json import Content

SUMMARY = (
    "compare a run bin by bin with a reference of the Analysis Grand Challenge, or another run"
)

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="results folder, or such a file"
    )
    parser.add_argument(
        "reference",
        type=Path,
        metavar="REFERENCE",
        help="JSON file of histograms, as the AGC writes it, or another results folder",
    )
    parser.add_argument(
        "--without",
        type=options.names,
        default=["pt_res_up"],
        metavar="A,B",
        help="variations that are not compared (default: pt_res_up, a random draw of the AGC)",
    )
    parser.add_argument("--all", action="store_true", help="show the histograms that agree, too")
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="folder for a figure of each region (default: that of the results folder)",
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    from analysis.common.tables import show
    from analysis.postprocess import agc_json
    from analysis.results import FIGURES

    left_out = tuple(f"_{name}" for name in arguments.without)
    read = [_read(path) for path in (arguments.results, arguments.reference)]
    found, reference = (
        {name: content for name, content in contents.items() if not name.endswith(left_out)}
        for contents, _ in read
    )
    differences = agc_json.compare(found, reference)
    if any(d.bins for d in differences) or arguments.all:
        show(*agc_json.rows(differences, arguments.all), title="Differences")
    wrong = [d.name for d in differences if not d.agrees]
    for words, names in (
        ("only in the reference", reference.keys() - found.keys()),
        ("only in the results", found.keys() - reference.keys()),
    ):
        if names:
            logger.warning("%s: %s", words, ", ".join(sorted(names)))
    logger.info(
        "%d of %d histograms agree bin by bin, %d but for events at edges",
        sum(d.bins == 0 for d in differences), len(differences),
        sum(bool(d.bins) and d.agrees for d in differences),
    )  # fmt: skip
    folder = arguments.figures
    if folder is None and arguments.results.is_dir():
        folder = arguments.results / FIGURES
    if folder is not None:
        from analysis.plotting.comparison import Sides, make_figures

        sides = Sides(found, reference, _name(arguments.results), _name(arguments.reference))
        regions = {region for _, known in read for region in known}
        files = make_figures(differences, sides, folder, regions)
        logger.info("%d figures in %s", len({path.stem for path in files}), folder)
    return 1 if wrong else 0


def _name(path: Path) -> str:
    return path.stem if path.is_file() else path.resolve().name


def _read(path: Path) -> tuple[dict[str, Content], list[str]]:
    """Read the histograms, and the regions where they are known: those of a run."""
    from analysis.common.folders import run_folder
    from analysis.postprocess import agc_json
    from analysis.results import load_normalised

    if path.is_file():
        return agc_json.load(path), []
    normalised = load_normalised(run_folder(path))
    for note in normalised.normalisation.notes:
        logger.warning("%s: %s", _name(path), note)
    return agc_json.histograms(normalised), list(normalised.regions)
