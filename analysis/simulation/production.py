"""Making datasets: blocks of events on several processes, resumed, merged, written with a catalogue.

A dataset is a row of blocks. Block `b` of dataset `d` depends on nothing but the master seed, `d`,
`b` and the settings, so that the events are the same whatever the number of workers and the order
in which they finish. A dataset is the shortest row of whole blocks with the events asked for.
"""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from analysis.common.errors import OutputError, SimulationError
from analysis.common.extras import require_extra
from analysis.common.files import write_json, write_text
from analysis.datasets import ntuples
from analysis.simulation import layout, nanoaod
from analysis.simulation.config import DetectorConfig, digest
from analysis.simulation.generator import MAX_SEED, Counts, generate, silenced

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.datasets.ntuples import Columns
    from analysis.simulation.particles import TruthEvents
    from analysis.simulation.processes import Process

FORMAT = 1  # raise it when the code changes what a block contains
BLOCK_EVENTS = 1000
EVENTS_PER_FILE = 50_000
BLOCKS_WITHOUT_EVENTS = 20
CATALOGUE = "ntuples.json"
RECORD = "production.json"
BLOCKS = ".blocks"
"""Folder of what is not complete."""
LUMINOSITY_IPB = 2256.38
FORMATS = {"poet": ntuples.TREE, "nanoaod": ntuples.NANOAOD_TREE}
"""Layout of the files that are made -> name of their tree."""
Progress = Callable[[str, int, float], None]
"""Called with dataset, pre-selected events so far and their rate [1/s] after every block."""


LABELS = {
    "data": "Pseudo-data",
    "jpsi": r"$J/\psi$",
    "drell_yan": "Drell-Yan",
    "combinatorial": "Combinatorial",
}
"""Processes whose names or labels a catalogue has to declare."""


@dataclass(frozen=True)
class Order:
    """What to make: the same order gives the same events. `events`: pre-selected, at least."""

    process: Process
    events: int
    seed: int
    detector: DetectorConfig
    block_events: int = BLOCK_EVENTS

    def digest(self) -> str:
        """Fingerprint of everything that a block's content depends on, but its number."""
        return digest(
            {
                "format": FORMAT,
                "pythia8mc": version("pythia8mc"),
                "process": self.process.content(),
                "detector": self.detector.model_dump(),
                "seed": self.seed,
                "block_events": self.block_events,
            }
        )


@dataclass(frozen=True)
class Block:
    """One finished block; `seconds` of processor time."""

    number: int
    path: Path
    counts: Counts
    selected: int
    seconds: float


@dataclass(frozen=True)
class Dataset:
    """A finished dataset: its files with their event counts, and what the generator did.

    `selected` counts pre-selected events, `seconds` processor time in the workers.
    """

    process: Process
    files: dict[str, int]
    tried: int
    generated: int
    selected: int
    cross_section_pb: float
    seconds: float

    @property
    def sum_of_weights(self) -> int:
        """Events that stand for the cross section: every detector response counts."""
        return self.generated * self.process.responses

    @property
    def filter_efficiency(self) -> float:
        """Generated over tried hard processes, times the branching fraction that was forced."""
        return self.generated / self.tried * self.process.branching

    @property
    def k_factor(self) -> float:
        """What brings the leading-order cross section to the reference."""
        if self.process.reference_pb is None:
            return self.process.k_factor
        return self.process.reference_pb / self.cross_section_pb

    @property
    def preselection_efficiency(self) -> float:
        """Pre-selected events over all (before the generator's filters)."""
        return self.selected / (self.tried * self.process.responses)


def block_seeds(seed: int, dataset: str, block: int) -> tuple[int, np.random.Generator]:
    """Make Pythia's seed and the detector's random generator of one block."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(dataset.encode()), block])
    pythia_seed = int(sequence.generate_state(1)[0]) % (MAX_SEED - 1) + 1
    return pythia_seed, np.random.Generator(np.random.Philox(sequence.spawn(1)[0]))


def make_block(order: Order, block: int) -> tuple[Columns, Counts]:
    """Generate, cluster, respond, pre-select one block; POET branches and counts."""
    from analysis.simulation.particles import truth

    pythia_seed, rng = block_seeds(order.seed, order.process.name, block)
    record, counts = generate(order.process, order.block_events, pythia_seed)
    with silenced():  # FastJet prints a banner at first use
        columns = truth(record, order.detector)
    return detected(order, columns, rng), counts


def detected(order: Order, columns: TruthEvents, rng: np.random.Generator) -> Columns:
    """Draw every response to the truth columns: POET branches of the pre-selected events."""
    from analysis.simulation.response import respond

    return ntuples.concatenate(
        [
            layout.branches(respond(columns, rng, order.detector))
            for _ in range(order.process.responses)
        ]
    )


def _block_paths(folder: Path, block: int) -> tuple[Path, Path]:
    return folder / f"{block:05d}.root", folder / f"{block:05d}.json"


def _work(order: Order, block: int, folder: Path) -> Block:
    """In a worker: make a block and put it down; its JSON comes last and means 'finished'."""
    start = time.process_time()
    data, record = _block_paths(folder, block)
    columns, counts = make_block(order, block)
    selected = ntuples.size(columns)
    ntuples.write(data, columns)
    result = Block(block, data, counts, selected, time.process_time() - start)
    content = {"counts": asdict(counts), "selected": selected, "seconds": result.seconds}
    write_text(record, json.dumps(content))
    return result


def _finished(folder: Path, block: int) -> Block | None:
    """Find a block that an earlier run left behind."""
    data, record = _block_paths(folder, block)
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        counts = Counts(**content["counts"])
        if not data.exists():
            return None
        return Block(block, data, counts, content["selected"], content["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Pool:
    """Worker processes; a worker that dies becomes a SimulationError."""

    def __init__(self, workers: int) -> None:
        # A fresh interpreter: Pythia's and FastJet's state is not inherited.
        self._executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        self.ahead = 2 * workers
        self._done_with: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        # Only now: blocks made ahead may have been written after their dataset was complete.
        for folder in self._done_with:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.parent.exists() and not any(folder.parent.iterdir()):
                folder.parent.rmdir()

    def remove_at_exit(self, folder: Path) -> None:
        """Remove a dataset's blocks once no worker can be writing one."""
        self._done_with.append(folder)

    def submit(self, order: Order, block: int, folder: Path) -> Future[Block]:
        return self._executor.submit(_work, order, block, folder)


def _blocks(order: Order, folder: Path, pool: Pool) -> Iterator[Block]:
    """Yield blocks 0, 1, 2, ... without end, in order; made ahead by the pool where not there yet."""
    waiting: dict[int, Future[Block]] = {}
    ready: dict[int, Block] = {}
    number = submitted = 0
    try:
        while True:
            while submitted < number + pool.ahead:
                found = _finished(folder, submitted)
                if found is None:
                    waiting[submitted] = pool.submit(order, submitted, folder)
                else:
                    ready[submitted] = found
                submitted += 1
            yield ready.pop(number) if number in ready else waiting.pop(number).result()
            number += 1
    except BrokenProcessPool as err:
        msg = (
            f"{order.process.name}: a worker process died (killed, or out of memory); finished "
            "blocks are kept, the same command goes on from there"
        )
        raise SimulationError(msg) from err
    finally:
        for future in waiting.values():
            future.cancel()


def _enough(order: Order, folder: Path, pool: Pool, progress: Progress) -> list[Block]:
    """Take the shortest row of blocks with at least `order.events` pre-selected events."""
    done: list[Block] = []
    total, start = 0, time.monotonic()
    for block in _blocks(order, folder, pool):
        done.append(block)
        total += block.selected
        progress(order.process.name, total, total / max(time.monotonic() - start, 1e-9))
        if total >= order.events:
            return done
        if total == 0 and len(done) >= BLOCKS_WITHOUT_EVENTS:
            break
    msg = f"{order.process.name}: no event passes the pre-selection in {len(done)} blocks"
    raise SimulationError(msg)


def _merge(order: Order, blocks: list[Block], output: Path, files_format: str) -> dict[str, int]:
    """Write the final files, `EVENTS_PER_FILE` and a block at most in each; {name: events}."""
    name = order.process.name
    files: dict[str, int] = {}
    for group in _groups(blocks):
        columns = ntuples.concatenate([ntuples.read(block.path) for block in group])
        generated = order.process.responses * sum(block.counts.generated for block in group)
        file = f"{name}_{len(files)}.root"
        path = output / name / file
        if files_format == "poet":
            ntuples.write(path, columns)
        else:
            nanoaod.write(path, columns, first_event=1 + sum(files.values()), generated=generated)
        files[file] = ntuples.size(columns)
    return files


def _groups(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield the blocks of one file after the other."""
    group: list[Block] = []
    for block in blocks:
        group.append(block)
        if sum(member.selected for member in group) >= EVENTS_PER_FILE:
            yield group
            group = []
    if group:
        yield group


def read_records(output: Path) -> dict[str, dict[str, Any]]:
    """Read what `production.json` says of each dataset of `output`: {} without one."""
    try:
        content = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(output: Path, dataset: Dataset, **more: Any) -> None:
    """Add what the generator did for `dataset` to `production.json`."""
    record = {key: value for key, value in vars(dataset).items() if key != "process"} | more
    content = read_records(output) | {dataset.process.name: record}
    write_json(output / RECORD, content)


def _made_before(order: Order, output: Path, files_format: str) -> Dataset | None:
    """Find the dataset of the same order, if an earlier run completed it and its files are there."""
    record = read_records(output).get(order.process.name, {})
    if (record.pop("digest", None), record.pop("events", None)) != (order.digest(), order.events):
        return None
    if record.pop("format", "poet") != files_format:
        return None
    try:
        dataset = Dataset(process=order.process, **record)
    except TypeError:
        return None
    folder = output / order.process.name
    return dataset if all((folder / file).exists() for file in dataset.files) else None


def require_own(output: Path, names: Iterable[str]) -> None:
    """Raise OutputError where datasets of `names` would take the place of files from elsewhere.

    What a production made, finished or not, is of its own: it left its record, or its blocks.
    """
    if (output / RECORD).exists() or (output / BLOCKS).exists():
        return
    taken = [output / CATALOGUE, *(output / name for name in names)]
    there = next((path for path in taken if path.exists()), None)
    if there is not None:
        msg = f"{there} is there and not of a simulation (no {RECORD}): name another folder"
        raise OutputError(msg)


def require_format(output: Path, files_format: str) -> None:
    """Raise OutputError for a folder with simulated files of another format, as a catalogue has one."""
    there = _catalogue_of(output / CATALOGUE).get("format", files_format)
    if there != files_format:
        msg = f"{output} has simulated files in the format {there!r}: name another folder"
        raise OutputError(msg)


def make_dataset(
    order: Order,
    output: Path,
    pool: Pool,
    progress: Progress,
    files_format: str = "poet",
) -> Dataset:
    """Make one dataset under `output`, going on from what is there of the same order."""
    known = _made_before(order, output, files_format)
    if known is not None:
        progress(order.process.name, known.selected, 0.0)
        return known
    folder = output / BLOCKS / f"{order.process.name}-{order.digest()}"
    blocks = _enough(order, folder, pool, progress)
    files = _merge(order, blocks, output, files_format)
    tried = sum(block.counts.tried for block in blocks)
    # Each block estimates the same cross section; weigh by what it rests on.
    sigma = sum(block.counts.cross_section_pb * block.counts.tried for block in blocks) / tried
    dataset = Dataset(
        process=order.process,
        files=files,
        tried=tried,
        generated=sum(block.counts.generated for block in blocks),
        selected=sum(block.selected for block in blocks),
        cross_section_pb=sigma,
        seconds=sum(block.seconds for block in blocks),
    )
    made_as = {"digest": order.digest(), "events": order.events, "format": files_format}
    write_record(output, dataset, **made_as)
    pool.remove_at_exit(folder)
    return dataset


def entry(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Make the catalogue's entry of a dataset. Cross section x k-factor x filter efficiency / sum of
    weights (the generated events) times the luminosity is the weight of each event."""
    process = dataset.process
    sigma = dataset.cross_section_pb
    if process.reference_pb is None:
        normalised = f"k_factor {process.k_factor:g} by hand"
    else:
        normalised = f"k_factor = {process.reference_pb:g} / {sigma:.4g} to the reference"
    responses = ""
    if process.responses > 1:
        responses = (
            f" Each generated event is used with {process.responses} detector responses: its "
            "statistical errors are larger than they look."
        )
    forced = f", times the forced branching {process.branching:g}" if process.branching != 1 else ""
    comment = (
        f"Pythia 8, leading order, MPI on, seed {seed}: {process.note}. {dataset.generated} of "
        f"{dataset.tried} hard processes passed the generator filters{forced}; "
        f"{dataset.selected} pass the POET pre-selection "
        f"({100 * dataset.preselection_efficiency:.3g} %). {normalised}.{responses}"
    )
    return {
        "process": process.process,
        "variation": process.variation,
        "kind": process.kind,
        "cms_name": None,
        "record": None,
        "cross_section": f"{sigma:.8g} pb",
        "k_factor": dataset.k_factor * sigma / float(f"{sigma:.8g}"),
        "filter_efficiency": dataset.filter_efficiency,
        "sum_of_weights": dataset.sum_of_weights,
        "sum_of_weights_is": "count",
        "comment": comment,
        "path": process.name,
        "files": dataset.files,
    }


def preselection(detector: DetectorConfig) -> dict[str, float]:
    """Write the pre-selection for the catalogue, as that of the POET ntuples has it."""
    cuts = detector.preselection
    limits = {"min_pt": cuts.lepton_pt, "max_abs_eta": cuts.lepton_abs_eta}
    return {
        f"{lepton}.{cut}": limit for lepton in ("electron", "muon") for cut, limit in limits.items()
    }


def write_catalogue(
    output: Path,
    entries: dict[str, dict[str, Any]],
    luminosity_ipb: float = LUMINOSITY_IPB,
    tree: str = ntuples.TREE,
    preselection: Mapping[str, float] | None = None,
    files_format: str = "poet",
) -> Path:
    """Add `entries` to the catalogue of `output` (made if absent). Raises OutputError."""
    path = output / CATALOGUE
    datasets = {**_catalogue_of(path).get("datasets", {}), **entries}
    result = {
        "label": "Simulation",
        "processes": {
            name: label
            for name, label in LABELS.items()
            if any(entry["process"] == name for entry in datasets.values())
        },
        "luminosity": f"{luminosity_ipb:g} /pb",
        "format": files_format,
        "tree": tree,
        "base": ".",
        "preselection": dict(preselection or {}),
        "datasets": datasets,
    }
    write_json(path, result)
    return path


def _catalogue_of(path: Path) -> dict[str, Any]:
    """Read a catalogue; {} without one."""
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        msg = f"{path} is not a catalogue: {err}"
        raise OutputError(msg) from err
    return content


def check_request(events: int, seed: int, workers: int, block_events: int = BLOCK_EVENTS) -> None:
    """Raise SimulationError for counts that make no sense."""
    for name, value, low in (
        ("events", events, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
        ("block-events", block_events, 1),
    ):
        if value < low:
            msg = f"--{name} is {value}, must be at least {low}"
            raise SimulationError(msg)


def produce(
    processes: Sequence[Process],
    output: Path,
    *,
    events: int,
    seed: int,
    workers: int = 1,
    detector: DetectorConfig | None = None,
    block_events: int = BLOCK_EVENTS,
    progress: Progress = lambda *_: None,
    files_format: str = "poet",
) -> list[Dataset]:
    """Make the datasets of `processes` and add each, when complete, to the catalogue of `output`.

    `files_format`: one of `FORMATS`. Raises OutputError for a folder that has ntuples from elsewhere, or in
    another format.
    """
    check_request(events, seed, workers, block_events)
    if processes:
        require_own(output, [process.name for process in processes])
        require_format(output, files_format)
    require_extra("simulate", "simulation")
    datasets = []
    with Pool(workers) as pool:
        for process in processes:
            order = Order(process, events, seed, detector or DetectorConfig(), block_events)
            dataset = make_dataset(order, output, pool, progress, files_format)
            write_catalogue(
                output,
                {process.name: entry(dataset, seed)},
                tree=FORMATS[files_format],
                preselection=preselection(order.detector),
                files_format=files_format,
            )
            datasets.append(dataset)
    return datasets
