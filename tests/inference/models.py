"""Small workspaces with known answers."""

from __future__ import annotations

from typing import Any

SIGNAL = [20.0, 60.0, 30.0]
BACKGROUND = [200.0, 100.0, 50.0]


def counting(observed: float = 130.0) -> dict[str, Any]:
    """One bin of 100 signal on 30 background events: the strength is (n - 30) / 100 ± √n / 100."""
    samples = [
        {"name": "signal", "data": [100.0], "modifiers": [_strength()]},
        {"name": "background", "data": [30.0], "modifiers": []},
    ]
    return workspace({"bin": samples}, {"bin": [observed]})


def shapes() -> dict[str, Any]:
    """Two channels, every kind of modifier that the project writes; data are the prediction."""
    channels = {name: _samples(name, factor) for name, factor in (("A", 1.0), ("B", 2.0))}
    data = {
        name: [sum(bins) for bins in zip(*(s["data"] for s in samples), strict=True)]
        for name, samples in channels.items()
    }
    return workspace(channels, data)


def workspace(channels: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    return {
        "channels": [{"name": name, "samples": samples} for name, samples in channels.items()],
        "observations": [{"name": name, "data": values} for name, values in data.items()],
        "measurements": [{"name": "m", "config": {"poi": "ttbar_norm", "parameters": []}}],
        "version": "1.0.0",
    }


def sample(spec: dict[str, Any], name: str = "signal", channel: str = "A") -> dict[str, Any]:
    """A sample of the workspace, to be changed."""
    samples = next(c["samples"] for c in spec["channels"] if c["name"] == channel)
    found: dict[str, Any] = next(s for s in samples if s["name"] == name)
    return found


def modifier(spec: dict[str, Any], kind: str, name: str = "signal") -> dict[str, Any]:
    """The first modifier of a kind in channel A, to be changed."""
    found: dict[str, Any] = next(m for m in sample(spec, name)["modifiers"] if m["type"] == kind)
    return found


def _strength() -> dict[str, Any]:
    return {"type": "normfactor", "name": "ttbar_norm", "data": None}


def _luminosity() -> dict[str, Any]:
    return {"type": "normsys", "name": "Luminosity", "data": {"hi": 1.03, "lo": 0.97}}


def _samples(channel: str, factor: float) -> list[dict[str, Any]]:
    signal, background = ([factor * x for x in bins] for bins in (SIGNAL, BACKGROUND))
    tilt = [0.95, 1.0, 1.05]
    shifted = {
        "hi_data": [x * t for x, t in zip(signal, tilt, strict=True)],
        "lo_data": [x * (2 - t) for x, t in zip(signal, tilt, strict=True)],
    }
    return [
        {
            "name": "signal",
            "data": signal,
            "modifiers": [
                _strength(),
                _luminosity(),
                {"type": "histosys", "name": "Jet energy scale", "data": shifted},
                _staterror(channel, [1.0, 2.0, 1.0]),
            ],
        },
        {
            "name": "background",
            "data": background,
            "modifiers": [
                _luminosity(),
                {"type": "normsys", "name": "Cross section", "data": {"hi": 1.2, "lo": 0.8}},
                _staterror(channel, [2.0, 1.0, 1.0]),
            ],
        },
    ]


def _staterror(channel: str, errors: list[float]) -> dict[str, Any]:
    return {"type": "staterror", "name": f"staterror_{channel}", "data": errors}
