"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.catalogue import Catalogue
    from analysis.execution.runner import Execution
    from analysis.inference.limit import SignalRate

DEFAULT_OUTPUT = Path("results")
DEFAULT_CATALOGUE = Path(__file__).parents[1] / "sample" / "ntuples.json"


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quiet", action="store_true", help="only warnings and errors")
    group.add_argument(
        "--verbose", action="store_true", help="also chunks, failures and scale factors"
    )


def add_input(parser: argparse.ArgumentParser, *, limits: bool = True) -> None:
    group = parser.add_argument_group("input")
    group.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="datasets to process (default: the sample)"
    )
    group.add_argument("--datasets", type=names, metavar="A,B", help="these datasets only")
    group.add_argument("--processes", type=names, metavar="A,B", help="these processes only")
    if limits:
        group.add_argument(
            "--max-files", type=positive, metavar="N", help="first N files of each dataset only"
        )
        group.add_argument(
            "--max-events", type=positive, metavar="N", help="first N events of each dataset only"
        )
    add_config(group)


def add_config(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with other cuts, binnings, variations",
    )


def add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("execution")
    group.add_argument(
        "--executor", default="iterative", metavar="NAME", help="iterative (default), futures, dask"
    )
    group.add_argument(
        "--workers", type=positive, metavar="N", help="of futures and dask (default: 2)"
    )
    group.add_argument(
        "--chunk-size",
        type=positive,
        metavar="N",
        help="events at a time, at most (default: what fits a worker of 500 MB)",
    )
    group.add_argument(
        "--retries",
        type=not_negative,
        default=3,
        metavar="N",
        help="of a chunk, where the network fails or a worker dies (default: %(default)s)",
    )
    group.add_argument(
        "--fail-fast",
        action="store_true",
        help="stop at the first chunk that fails, instead of finishing what can be finished",
    )


def add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume",
        action="store_true",
        help="process only what an earlier run into the same folder has not finished",
    )


def add_normalisation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("normalisation")
    group.add_argument(
        "--luminosity",
        metavar="L",
        help="of all data in the catalogue, in 1/pb or with a unit: '140.1 /fb'",
    )
    group.add_argument(
        "--cross-section",
        action="append",
        default=[],
        metavar="NAME=X",
        help="of a dataset or process, in pb or with a unit, instead of the catalogue's cross section "
        "times k-factor: 'ttbar=832 pb'; may be repeated",
    )
    group.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="scale by what was processed where files failed, and mark the results",
    )
    group.add_argument(
        "--qcd",
        choices=("simulation", "abcd"),
        default="simulation",
        help="multijet events of the muon channel: simulated (default) or estimated from the data",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=DEFAULT_OUTPUT,
        metavar="RESULTS",
        help="results folder (default: %(default)s)",
    )


def selected_catalogue(arguments: argparse.Namespace) -> Catalogue:
    from analysis.catalogue import Catalogue

    catalogue = Catalogue.load(catalogue_path(arguments))
    return catalogue.select(arguments.datasets, arguments.processes)


def catalogue_path(arguments: argparse.Namespace) -> Path:
    path: Path | None = arguments.catalogue
    return DEFAULT_CATALOGUE if path is None else path


def execution(arguments: argparse.Namespace) -> Execution:
    """Two workers unless asked for others; without worker processes it is always one."""
    from analysis.execution.plan import CHUNK_EVENTS
    from analysis.execution.runner import Execution

    workers = 1 if arguments.executor == "iterative" else arguments.workers or 2
    return Execution(
        executor=arguments.executor,
        workers=workers,
        chunk_size=arguments.chunk_size or CHUNK_EVENTS,
        progress=not arguments.quiet,
        retries=arguments.retries,
        fail_fast=arguments.fail_fast,
    )


def normalisation_choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `analysis.results.normalise`.

    Raises ConfigError for a value without meaning.
    """
    from analysis.units import cross_section_pb, luminosity_ipb

    luminosity = arguments.luminosity
    return {
        "luminosity_ipb": None if luminosity is None else _parse(luminosity, luminosity_ipb),
        "cross_sections_pb": {
            name: _parse(value, cross_section_pb)
            for name, value in map(assignment, arguments.cross_section)
        },
        "allow_incomplete": arguments.allow_incomplete,
        "qcd": arguments.qcd,
    }


def signal_rate(arguments: argparse.Namespace) -> SignalRate:
    """What scales the signal of `limit`; raises ConfigError for a number that is not valid."""
    from pydantic import ValidationError

    from analysis.inference.limit import SignalRate
    from analysis.units import cross_section_pb, luminosity_ipb
    from analysis.validation import faults

    try:
        return SignalRate(
            sum_of_weights=arguments.sum_of_weights,
            cross_section_pb=_parse(arguments.cross_section, cross_section_pb),
            luminosity_ipb=_parse(arguments.luminosity, luminosity_ipb),
            filter_efficiency=arguments.filter_efficiency,
            k_factor=arguments.k_factor,
        )
    except ValidationError as error:
        raise ConfigError("; ".join(faults(error, SignalRate))) from error


def assignment(text: str) -> tuple[str, str]:
    """Name and value of an option NAME=VALUE; raises ConfigError for anything else."""
    name, _, value = (part.strip() for part in text.partition("="))
    if not (name and value):
        msg = f"expected NAME=VALUE, got {text!r}"
        raise ConfigError(msg)
    return name, value


def _parse(text: str, parse: Callable[[float | str], float]) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    return _at_least(1, text)


def not_negative(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        msg = f"expected a whole number of at least {least}, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return value
