"""What NanoAOD files say of themselves, and the catalogue of the Analysis Grand Challenge's."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import uproot
from pydantic import ValidationError

from analysis.common.errors import CatalogueError, did_you_mean
from analysis.common.files import read_text
from analysis.common.strict import faults, parse_json
from analysis.datasets import remote
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.ntuples import NANOAOD_TREE
from analysis.datasets.processes import PROCESS_LABELS

TREE = NANOAOD_TREE
WEIGHT = "genWeight"
_SUMS = ("genEventSumw", "genEventSumw_")
"""Branch of `Runs` with the sum of generator weights; NanoAOD v6 has the other name."""
EVENT_NUMBERS = frozenset({"run", "luminosityBlock", "event"})
_OBJECTS = ("Electron_pt", "Muon_pt", "Jet_pt")
_OF_VERSIONS = (
    WEIGHT, "Jet_btagCSVV2", "Jet_btagDeepFlavB", "Jet_jetId", "Electron_cutBased", "Muon_tightId",
)  # fmt: skip
"""Branches by which files of other versions, or of data and simulation, differ."""


class NanoFile(NamedTuple):
    """What a file of NanoAOD says of itself."""

    events: int
    branches: frozenset[str]
    """Those that not every version has, and numbers of events."""
    sum_of_weights: float | None
    """Sum of generator weights before any selection; None without the tree `Runs`."""


def is_nanoaod(path: Path) -> bool:
    """Whether a file has a tree `Events` with objects of NanoAOD; false for what cannot be read."""
    try:
        with uproot.open(path) as file:
            return TREE in file and not set(_OBJECTS).isdisjoint(file[TREE].keys())
    except Exception:  # noqa: BLE001 - what is wrong with it is said when its events are counted
        return False


def inspect(url: str, tree: str) -> NanoFile:
    """Open a file; raises whatever uproot raises, and CatalogueError for a tree that is no NanoAOD."""
    with uproot.open({url: None}, **remote.Access().options()) as file:
        events = file[tree]
        branches = set(events.keys())
        if branches.isdisjoint(_OBJECTS):
            msg = f"the tree {tree!r} is no NanoAOD: none of {', '.join(_OBJECTS)}"
            raise CatalogueError(msg)
        total = None
        if "Runs" in file:
            runs = file["Runs"]
            named = [name for name in _SUMS if name in runs.keys()]  # noqa: SIM118 - a tree
            if named:
                total = float(runs[named[0]].array(library="np").sum())
        return NanoFile(
            int(events.num_entries), frozenset(branches & {*_OF_VERSIONS, *EVENT_NUMBERS}), total
        )


def fields(files: Mapping[str, NanoFile], *, is_data: bool) -> dict[str, Any]:
    """Fields of a dataset: of data whether events have numbers; of simulation its generator weights, and
    their sum where all files have one.

    Raises CatalogueError where a file is of another version than the first.
    """
    first, *others = files
    there = files[first].branches
    for name in others:
        if apart := there ^ files[name].branches:
            which = first if (branch := min(apart)) in there else name
            msg = f"{name}: another version of NanoAOD than {first}: {which} alone has {branch}"
            raise CatalogueError(msg)
    if is_data:
        return {"event_numbers": True} if there >= EVENT_NUMBERS else {}
    if WEIGHT not in there:
        return {}
    sums = [file.sum_of_weights for file in files.values()]
    known = {"sum_of_weights": sum(sums)} if None not in sums else {}  # type: ignore[arg-type]
    return {"generator_weights": True, "sum_of_weights_is": "weights", **known}


SERVERS = {
    "unl": "https://xrootd-local.unl.edu:1094//store/user/AGC/nanoAOD",
    "eos": "root://eospublic.cern.ch//eos/opendata/cms/upload/agc/1.0.0",
    "xcache": "root://red-xcache1.unl.edu//store/user/AGC/nanoAOD",
}
"""Where the Analysis Grand Challenge's files are."""

LUMINOSITY = "3378 /pb"

CROSS_SECTIONS = {
    "ttbar": 396.87 + 332.97,
    "single_top_s_chan": 2.0268 + 1.2676,
    "single_top_t_chan": (36.993 + 22.175) / 0.252,
    "single_top_tW": 37.936 + 37.906,
    "wjets": 61457 * 0.252,
}
"""pb, as the Analysis Grand Challenge's code has them; of all samples of a process."""


def grand_challenge(path: Path, base: str = SERVERS["unl"], files: int | None = None) -> Catalogue:
    """Make a catalogue of the Analysis Grand Challenge's list of inputs, `nanoaod_inputs.json`.

    `base` takes the place of the server and folder of the list; `files` limits those of each sample, and
    what was generated is then the events of these files. Raises CatalogueError for another file.
    """
    try:
        listed = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        msg = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise CatalogueError(msg) from error
    try:
        datasets = {
            f"{process}__{variation}": _dataset(process, variation, sample["files"][:files])
            for process, samples in listed.items()
            for variation, sample in samples.items()
        }
        catalogue = Catalogue.model_validate(
            {
                "description": "NanoAOD of CMS Open Data 2015, as the Analysis Grand Challenge lists it",
                "luminosity": LUMINOSITY,
                "format": "nanoaod",
                "tree": TREE,
                "base": base,
                "label": "CMS Open Data",
                "processes": {name: name for name in listed if name not in PROCESS_LABELS},
                "datasets": datasets,
            }
        )
    except (AttributeError, KeyError, TypeError) as error:
        msg = (
            f"{path}: expected {{process: {{variation: {{files: [{{path, nevts}}]}}}}}}, no {error}"
        )
        raise CatalogueError(msg) from error
    except ValidationError as error:
        raise CatalogueError("\n".join(f"{path}: {f}" for f in faults(error, Catalogue))) from error
    return catalogue


def _dataset(process: str, variation: str, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    if process not in CROSS_SECTIONS:
        msg = f"no cross section is known of {process!r}, {did_you_mean(process, CROSS_SECTIONS)}"
        raise CatalogueError(msg)
    events = {_below_server(file["path"]): file["nevts"] for file in files}
    folder = posixpath.commonpath([posixpath.dirname(name) for name in events])
    return {
        "process": process,
        "variation": variation,
        "kind": "signal" if process == "ttbar" else "background",
        "cross_section": CROSS_SECTIONS[process],
        "sum_of_weights": sum(events.values()),
        "path": folder,
        "files": {posixpath.relpath(name, folder or "."): n for name, n in events.items()},
    }


def _below_server(address: str) -> str:
    """The path below the folder of the list's own server."""
    prefix = f"{SERVERS['unl']}/"
    if not address.startswith(prefix):
        msg = f"{address} is not below {prefix}"
        raise CatalogueError(msg)
    return address.removeprefix(prefix)
