"""`run.py sideband`: estimate the background under a peak of the dimuon mass from its sidebands."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from analysis.cli import options

SUMMARY = "estimate the background under a dimuon peak from its sidebands"
DEFAULT_OUTPUT = Path("results/sideband")
DEFAULT_PRESET = "jpsi"

_REGIONS = {
    "lower": "lower sideband",
    "signal": "signal window",
    "upper": "upper sideband",
    "range": "fit range",
}
_DESCRIPTION = (
    "Count the events in a signal window, take the background under the peak from the sidebands "
    "(average or linear), fit the sidebands alone, fit peak and background together, and repeat the "
    "estimate with other regions. Edges are in GeV; the lower one is included, the upper one not."
)

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.add_argument(
        "input",
        nargs="?",
        metavar="FILE",
        help="muon trees: a catalogue (.json) or a file (.root, .root:TREE); a histogram "
        "(.root:NAME, .zip:NAME); two muons a line with columns E1 px1 py1 pz1 Q1 E2 ..., or a pair "
        "a line with e px py pz charge (.csv) "
        "(default: the bundled dimuon sample)",
    )
    parser.add_argument(
        "--datasets",
        type=options.names,
        metavar="A,B",
        help="of a catalogue (default: its collision data)",
    )
    parser.add_argument(
        "--unbinned",
        action="store_true",
        help="of trees: count and fit the masses themselves (default: a fine histogram)",
    )
    parser.add_argument(
        "--any-charge",
        action="store_true",
        help="of trees and CSV files: also pairs of the same charge",
    )
    _add_choice(parser)
    parser.add_argument("--label", metavar="TEXT", help="what figures say the events are")
    parser.add_argument(
        "--energy", default="", metavar="TEXT", help="centre-of-mass energy for figures: '8 TeV'"
    )
    options.add_execution(parser)
    options.add_output(parser)
    parser.set_defaults(output=DEFAULT_OUTPUT)
    options.add_verbosity(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("regions and shapes")
    group.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        metavar="NAME",
        help="jpsi (default), upsilon or z; the other options change it",
    )
    for name, what in _REGIONS.items():
        group.add_argument(f"--{name}", nargs=2, type=float, metavar=("LO", "HI"), help=what)
    group.add_argument(
        "--shape",
        metavar="NAME",
        help="of the peak: gaussian, double_gaussian, crystal_ball, double_crystal_ball, voigt",
    )
    group.add_argument(
        "--background",
        metavar="NAME",
        help="exponential, power_law, chebyshev, bernstein",
    )
    group.add_argument(
        "--order", type=options.positive, metavar="N", help="of a polynomial (default: F-test)"
    )
    group.add_argument("--method", metavar="NAME", help="nominal count: average, linear")


def run(arguments: argparse.Namespace) -> None:
    from analysis import results
    from analysis.common.files import writable_folder
    from analysis.datasets.bundled import DIMUON_SAMPLE
    from analysis.dimuon.masses import read_masses
    from analysis.dimuon.resonances import analyse, choice_of
    from analysis.plotting.captions import Caption, PeakCaption
    from analysis.plotting.peaks import MASS_LABEL, resonance_figures

    choice = choice_of(arguments.preset, _changes(arguments))
    execution = options.execution(arguments)
    masses = read_masses(
        arguments.input or DIMUON_SAMPLE,
        datasets=arguments.datasets,
        execution=execution,
        unbinned=arguments.unbinned,
        any_charge=arguments.any_charge,
    )
    report = analyse(masses.content, choice, masses.source)
    writable_folder(arguments.output)
    above = Caption(arguments.label or masses.label, centre_of_mass=arguments.energy)
    caption = PeakCaption(MASS_LABEL, above)
    resonance_figures(masses.content, report, caption, arguments.output / results.FIGURES)
    results.save_peak(arguments.output, report)
    for failure in report.failures:
        logger.warning("%s", failure)
    if logger.isEnabledFor(logging.INFO):
        sys.stdout.write("\n".join([f"{choice.title} in {masses.source}", *report.lines, ""]))
        logger.info("results in %s", arguments.output)


def _changes(arguments: argparse.Namespace) -> dict[str, object]:
    """Collect the options that change the preset, by the names of `PeakChoice`."""
    return {
        "lower": arguments.lower,
        "signal": arguments.signal,
        "upper": arguments.upper,
        "fit_range": arguments.range,
        "signal_shape": arguments.shape,
        "background_shape": arguments.background,
        "order": arguments.order,
        "method": arguments.method,
    }
