"""Where a Dask run finds its workers: typed settings, one model for each kind of cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from analysis.common.errors import ConfigError, did_you_mean
from analysis.common.strict import Strict, faults, read_toml

LOOPBACK = "127.0.0.1:0"
"""A free port that only this machine can reach."""

_Model = TypeVar("_Model", bound=Strict)


def _like(pattern: str, example: str) -> AfterValidator:
    """Return a validator for text of a form; its message shows the example."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            msg = f"expected such as {example}, got {text!r}"
            raise ValueError(msg)
        return text

    return AfterValidator(check)


def worker_range(workers: str | int) -> tuple[int, int | None]:
    """Return the smallest and largest number of workers of `4` (fixed: None) or `2:20` (adaptive).

    Raises ValueError for anything else.
    """
    text = str(workers)
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", text):
        msg = f"expected a range such as 2:20, or a number of at least 1, got {text!r}"
        raise ValueError(msg)
    low, _, high = text.partition(":")
    if high and int(high) < int(low):
        msg = f"expected the larger number last, got {text!r}"
        raise ValueError(msg)
    return int(low), int(high) if high else None


def _workers(given: Any) -> Any:
    return worker_range(given) if isinstance(given, str | int) else given


Size = Annotated[str, _like(r"\d+(\.\d+)? ?[kMGT]i?B", "2 GB")]
Workers = Annotated[tuple[int, int | None], BeforeValidator(_workers)]


class ClusterSettings(Strict):
    """Settings of every kind of cluster."""

    workers: Workers = (2, None)
    """Worker processes: 4, or "2:20" for as many as there is work for; an option overrides it."""
    wait_s: PositiveFloat = 60.0
    """Time to wait for the first worker."""


class Local(ClusterSettings):
    """Worker processes on this machine, one thread each."""

    kind: Literal["local"] = "local"
    dashboard: str = LOOPBACK


class Tls(Strict):
    """Certificates (PEM) that this client shows and trusts."""

    ca: Path
    cert: Path
    key: Path


class Scheduler(ClusterSettings):
    """A Dask scheduler that runs already, with workers of its own."""

    kind: Literal["scheduler"] = "scheduler"
    address: Annotated[str, _like(r"(tcp|tls)://.+:\d+", "tcp://HOST:8786 or tls://HOST:8786")]
    connect_s: PositiveFloat = 10.0
    """Time to wait for the connection."""
    tls: Tls | None = None
    """Without it, what Dask's own configuration says."""


class Batch(ClusterSettings):
    """Workers that are jobs of a batch system; the scheduler runs in this process."""

    cores: PositiveInt = 1
    """Cores of a job: one worker process each."""
    memory: Size = "2 GB"
    """Memory of a job."""
    interface: str | None = None
    """Network that workers and scheduler use: `ib0`, or `lo` where all is on one machine."""
    host: str | None = None
    """Name or address of this machine for the workers, instead of an interface."""
    port: NonNegativeInt = 0
    """Port of the scheduler; 0 for a free one."""
    dashboard: str = LOOPBACK
    tls: bool = True
    """Encrypt, and let nobody in without the run's own certificate (made for it, for one run)."""
    shared_folder: Path = Path()
    """Seen from here and from the jobs: the certificate is put there while the run lasts."""
    python: str | None = None
    """Python of the jobs; None for this one."""
    prologue: list[str] = Field(default=[])
    """Shell commands before the worker starts."""
    worker_args: list[str] = Field(default=[])
    """Further arguments of `dask worker`, such as `--lifetime 55m`."""
    log_folder: Path | None = None
    local_folder: str | None = None
    """Scratch space of the workers."""
    wait_s: PositiveFloat = 3600.0

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.interface is None) == (self.host is None):
            msg = (
                "one of 'interface' and 'host' is needed: where the jobs reach this machine "
                "(nothing listens beyond it unless asked; interface = 'lo' for jobs on it)"
            )
            raise ValueError(msg)
        return self


class HTCondor(Batch):
    """Jobs of HTCondor."""

    kind: Literal["htcondor"] = "htcondor"
    disk: Size = "2 GB"
    job_extra: dict[str, str] = Field(default={})
    """Lines of the submit file: `"+JobFlavour" = '"workday"'`."""
    submit_args: list[str] = Field(default=[])
    """Arguments of `condor_submit`, such as `-spool`."""


class Slurm(Batch):
    """Jobs of SLURM."""

    kind: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    walltime: Annotated[str, _like(r"(\d+-)?\d+:\d\d(:\d\d)?", "02:00:00 or 1-12:00")] = "01:00:00"
    job_extra: list[str] = Field(default=[])
    """Further `#SBATCH` lines: `--constraint=el9`."""


class Gateway(ClusterSettings):
    """A cluster that a Dask Gateway server starts."""

    kind: Literal["gateway"] = "gateway"
    address: Annotated[str, _like(r"https?://.+", "https://HOST")] | None = None
    """Address of the server; None for the one in Dask's own configuration."""
    proxy_address: str | None = None
    auth: Literal["basic", "kerberos", "jupyterhub"] | None = None
    options: dict[str, Any] = Field(default={})
    """That the server offers: worker_cores, image, ..."""
    wait_s: PositiveFloat = 600.0


Cluster = Local | Scheduler | HTCondor | Slurm | Gateway

KINDS: dict[str, type[Cluster]] = {
    "local": Local,
    "htcondor": HTCondor,
    "slurm": Slurm,
    "gateway": Gateway,
}
"""Kinds that are chosen by name; a scheduler is chosen by its address."""


def cluster_settings(kind: str, path: Path | None = None) -> Cluster:
    """Read the settings of a kind of cluster from a TOML file, or return the defaults.

    Raises ConfigError for an unknown kind, and with every fault of the file and its place.
    """
    if kind not in KINDS:
        msg = f"unknown cluster {kind!r}: {did_you_mean(kind, KINDS)}"
        raise ConfigError(msg)
    if path is not None:
        return read_toml(path, KINDS[kind])
    return _valid(KINDS[kind], f"cluster {kind} without a file of settings", {})


def scheduler_settings(address: str, **values: Any) -> Scheduler:
    """Return settings of a running scheduler; raises ConfigError for an address that is none."""
    return _valid(Scheduler, f"scheduler {address}", {"address": address} | values)


def _valid(model: type[_Model], place: str, values: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(f"{place}: {f}" for f in faults(error, model))) from error
