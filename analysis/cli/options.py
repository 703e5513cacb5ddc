"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.common.errors import ConfigError
from analysis.common.folders import run_folder
from analysis.datasets.bundled import SAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.datasets.catalogue import Catalogue
    from analysis.execution.settings import Execution
    from analysis.execution.workers.cluster_settings import Cluster
    from analysis.inference.limit import SignalRate
    from analysis.inference.toys import Toys
    from analysis.postprocess.normalisation import Scaling
    from analysis.processor import TtbarAnalysis

SAME = 0.01
"""Relative difference of two luminosities that are taken for one."""
DEFAULT_OUTPUT = Path("results")


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
    group.add_argument(
        "--analysis",
        default="lesson",
        metavar="NAME|FILE.py",
        help="a preset ('run.py analyses' lists them), or a file that defines 'analysis' (default: "
        "%(default)s)",
    )
    group.add_argument("--channels", type=names, metavar="A,B", help="these channels only")
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
        "--executor",
        metavar="NAME",
        help="iterative (default), futures, dask (default where a cluster or scheduler is named)",
    )
    group.add_argument(
        "--workers",
        metavar="N[:M]",
        help="of futures and dask (default: 2); N:M for as many as there is work for",
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
    add_cluster(parser)
    add_access(parser)


def add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume",
        action="store_true",
        help="process only what an earlier run into the same folder has not finished",
    )


def add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    group.add_argument(
        "--redirector",
        action="append",
        default=[],
        metavar="PREFIX",
        help="read from here instead of the catalogue's root://HOST//; may be repeated, tried in turn, "
        "the catalogue's own last",
    )
    group.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="copy files of servers here, whole, when first read",
    )
    group.add_argument(
        "--verify",
        action="store_true",
        help="hold local files against the catalogue's checksums before reading; unchanged files are "
        "read for it once",
    )
    group.add_argument(
        "--timeout",
        type=positive,
        default=60,
        metavar="S",
        help="of a request to a server (default: 60 s)",
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dask")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--cluster", metavar="KIND", help="local (default), htcondor, slurm, gateway"
    )
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="one that runs already: tcp://HOST:PORT, tls://..."
    )
    group.add_argument(
        "--cluster-settings", type=Path, metavar="FILE", help="TOML file for the kind of cluster"
    )
    for name, what in (("ca", "certificate to trust"), ("cert", "certificate"), ("key", "key")):
        group.add_argument(
            f"--tls-{name}", type=Path, metavar="FILE", help=f"{what} for a scheduler at tls://"
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
        "--k-factor",
        action="append",
        default=[],
        metavar="NAME=X",
        help="of a dataset or process, instead of the catalogue's; may be repeated",
    )
    group.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="scale, and fit, what was processed where files failed or datasets were left out",
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


def results_folder(arguments: argparse.Namespace) -> Path:
    """The results folder that is named; raises OutputError if it is none."""
    return run_folder(arguments.results)


def selected_catalogue(arguments: argparse.Namespace) -> Catalogue:
    from analysis.datasets.catalogue import Catalogue

    catalogue = Catalogue.load(catalogue_path(arguments))
    return catalogue.select(arguments.datasets, arguments.processes)


def analysis(arguments: argparse.Namespace) -> TtbarAnalysis:
    """Find the analysis that is named, with the numbers of `--config`, of the `--channels` asked for.

    Raises ConfigError for a name, file, number or channel that is none.
    """
    from analysis.config import load_config
    from analysis.stages import named_analysis

    found = named_analysis(arguments.analysis)
    if arguments.config is not None:
        found = found.with_config(load_config(arguments.config, found.config))
    return found if arguments.channels is None else found.of_channels(arguments.channels)


def catalogue_path(arguments: argparse.Namespace) -> Path:
    path: Path | None = arguments.catalogue
    return SAMPLE if path is None else path


def execution(arguments: argparse.Namespace) -> Execution:
    """Two workers unless asked for others; without worker processes it is always one.

    Raises ConfigError for what is not valid, or does not fit together.
    """
    from analysis.datasets.remote import Access
    from analysis.execution.settings import CHUNK_EVENTS, Execution

    on_cluster = arguments.cluster or arguments.scheduler
    name = arguments.executor or ("dask" if on_cluster else "iterative")
    if on_cluster and name != "dask":
        msg = f"a cluster or scheduler is of the executor 'dask', not of {name!r}"
        raise ConfigError(msg)
    cluster = _cluster(arguments)
    low, high = cluster.workers if arguments.workers is None else _worker_range(arguments)
    if high is not None and name != "dask":
        msg = f"--workers: the executor {name!r} has a fixed number, got {arguments.workers!r}"
        raise ConfigError(msg)
    return Execution(
        executor=name,
        workers=1 if name == "iterative" else low,
        chunk_size=arguments.chunk_size or CHUNK_EVENTS,
        progress=not arguments.quiet,
        retries=arguments.retries,
        fail_fast=arguments.fail_fast,
        cluster=cluster,
        max_workers=high,
        access=Access(tuple(arguments.redirector), arguments.cache, arguments.timeout),
        verify=arguments.verify,
    )


def _worker_range(arguments: argparse.Namespace) -> tuple[int, int | None]:
    from analysis.execution.workers.cluster_settings import worker_range

    if arguments.scheduler:
        msg = "--workers: those of a scheduler that runs already are its own"
        raise ConfigError(msg)
    try:
        return worker_range(arguments.workers)
    except ValueError as error:
        msg = f"--workers: {error}"
        raise ConfigError(msg) from error


def _cluster(arguments: argparse.Namespace) -> Cluster:
    from analysis.execution.workers.cluster_settings import cluster_settings, scheduler_settings

    certificates = {name: getattr(arguments, f"tls_{name}") for name in ("ca", "cert", "key")}
    given = [name for name, path in certificates.items() if path is not None]
    if given and len(given) < len(certificates):
        msg = f"--tls-ca, --tls-cert and --tls-key go together, got only {', '.join(given)}"
        raise ConfigError(msg)
    if arguments.scheduler is not None:
        if arguments.cluster_settings is not None:
            msg = "--cluster-settings: a scheduler that runs already has none"
            raise ConfigError(msg)
        return scheduler_settings(arguments.scheduler, tls=certificates if given else None)
    if given:
        msg = "--tls-ca, --tls-cert and --tls-key are for --scheduler tls://HOST:PORT"
        raise ConfigError(msg)
    return cluster_settings(arguments.cluster or "local", arguments.cluster_settings)


def scaling(arguments: argparse.Namespace) -> Scaling:
    """Read how the run is to be scaled; raises ConfigError for a value without meaning."""
    from pydantic import ValidationError

    from analysis.common.strict import faults
    from analysis.datasets.units import cross_section_pb, luminosity_ipb
    from analysis.postprocess.normalisation import Scaling

    luminosity = arguments.luminosity
    if luminosity is not None:
        luminosity = _parsed("--luminosity", luminosity, luminosity_ipb)
    try:
        return Scaling(
            luminosity_ipb=luminosity,
            cross_sections_pb={
                name: _parsed(f"--cross-section {name}", value, cross_section_pb)
                for name, value in assignments("--cross-section", arguments.cross_section).items()
            },
            k_factors={
                name: _parsed(f"--k-factor {name}", value, float)
                for name, value in assignments("--k-factor", arguments.k_factor).items()
            },
            allow_incomplete=arguments.allow_incomplete,
            qcd=arguments.qcd,
        )
    except ValidationError as error:
        raise ConfigError("; ".join(faults(error, Scaling))) from error


def add_toys(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options of pseudo-experiments."""
    parser.add_argument(
        "--toys", type=positive, default=0, metavar="N", help=f"{what} by so many toys too"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the toys (default: %(default)s)")
    parser.add_argument(
        "--processes", type=positive, default=2, metavar="N", help="for toys (default: %(default)s)"
    )


def toys(arguments: argparse.Namespace) -> Toys | None:
    """The toys that were asked for, drawn and fitted by so many processes."""
    from analysis.inference.toys import Toys
    from analysis.plotting import pool

    if not arguments.toys:
        return None
    processes = arguments.processes
    return Toys(arguments.toys, arguments.seed, lambda f, items: pool.mapped(f, items, processes))


def signal_rate(arguments: argparse.Namespace, known_ipb: Mapping[str, float]) -> SignalRate:
    """What scales the signal of `limit`; the luminosity may be that of the fit, if that knows it.

    `known_ipb` has it by channel. Raises ConfigError for a number that is not valid, and for another
    luminosity than the fit's.
    """
    from pydantic import ValidationError

    from analysis.common.strict import faults
    from analysis.datasets.units import cross_section_pb
    from analysis.inference.limit import SignalRate

    try:
        return SignalRate(
            sum_of_weights=arguments.sum_of_weights,
            cross_section_pb=_parsed("--cross-section", arguments.cross_section, cross_section_pb),
            luminosity_ipb=_signal_luminosity(arguments.luminosity, known_ipb),
            filter_efficiency=arguments.filter_efficiency,
            k_factor=arguments.k_factor,
        )
    except ValidationError as error:
        raise ConfigError("; ".join(faults(error, SignalRate))) from error


def _signal_luminosity(given: str | None, known_ipb: Mapping[str, float]) -> float:
    from analysis.datasets.units import luminosity_ipb

    known = sorted(set(known_ipb.values()))
    shown = ", ".join(f"{x:g} /pb" for x in known)
    if given is None:
        if len(known) == 1:
            return known[0]
        msg = f"--luminosity: give one, the fit has {shown or 'none that is known'}"
        raise ConfigError(msg)
    value = _parsed("--luminosity", given, luminosity_ipb)
    if known and not known[0] * (1 - SAME) <= value <= known[-1] * (1 + SAME):
        msg = f"--luminosity: {value:g} /pb, but the data of the fit are of {shown}"
        raise ConfigError(msg)
    return value


def assignments(option: str, texts: list[str]) -> dict[str, str]:
    """Values by name of an option NAME=VALUE.

    Raises ConfigError for anything else, and for a name that is given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            msg = f"{option}: expected NAME=VALUE, got {text!r}"
            raise ConfigError(msg)
        if name in values:
            msg = f"{option}: {name!r} is given twice: {values[name]} and {value}"
            raise ConfigError(msg)
        values[name] = value
    return values


def _parsed(option: str, text: str, parse: Callable[[float | str], float]) -> float:
    try:
        return parse(text)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise ConfigError(msg) from error


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
