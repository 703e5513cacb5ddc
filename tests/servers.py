"""Servers on loopback for the tests of remote files: HTTP with byte ranges, and a real XRootD."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest


class _RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Answers a single byte range with 206, which Python's own handler does not."""

    stalled: threading.Event

    def do_GET(self) -> None:
        if self.stalled.is_set():
            # The connection stays open, and nothing comes.
            self.server.gone.wait()  # type: ignore[attr-defined]
            return
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        first, last = int(asked[1]), min(int(asked[2]), path.stat().st_size - 1)
        with path.open("rb") as file:
            file.seek(first)
            content = file.read(last - first + 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{path.stat().st_size}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def http_server(folder: Path, stalled: threading.Event | None = None) -> Iterator[str]:
    """Address of the folder over HTTP; it answers no more once `stalled` is set."""

    class Handler(_RangeHandler):
        pass

    Handler.stalled = stalled or threading.Event()

    def handler(*arguments: Any) -> _RangeHandler:
        return Handler(*arguments, directory=str(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.gone = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.gone.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()


class XRootD:
    """An XRootD server that can be stopped and started again at the same address."""

    def __init__(self, command: list[str], port: int, work: Path) -> None:
        self.address = f"root://127.0.0.1:{port}//data"
        self.data = work / "root" / "data"
        self._command = command
        self._port = port
        self._said = work / "said"

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        with self._said.open("w") as said:
            self._server = subprocess.Popen(self._command, stdout=said, stderr=said)
        if not _answers(self._port, self._server):
            pytest.fail(f"the XRootD server did not start: {self._said.read_text()}")

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(timeout=120)


@contextmanager
def xrootd(folder: Path) -> Iterator[XRootD]:
    """A server of a copy of the folder's contents, started; skips where none is installed."""
    program = shutil.which("xrootd")
    if program is None:
        pytest.skip("no program 'xrootd' (Debian package xrootd-server)")
    pytest.importorskip("XRootD", reason="the extra 'xrootd' is not installed")
    # Not in pytest's folder, which every pytest of root closes to others when it starts.
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        server = _xrootd(program, folder, Path(temporary))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _xrootd(program: str, folder: Path, work: Path) -> XRootD:
    port = free_port()
    root = work / "root"
    shutil.copytree(folder, root / "data")
    for name in ("admin", "run", "log"):
        (work / name).mkdir()
    (work / "xrootd.cfg").write_text(
        f"xrd.port {port}\nxrd.network nodnr nokeepalive\n"
        "xrd.allow host localhost\nxrd.allow host 127.0.0.1\nxrd.allow host [::1]\n"
        f"all.export /data r/o\noss.localroot {root}\n"
        f"all.adminpath {work}/admin\nall.pidpath {work}/run\n"
    )
    command = [program, "-c", str(work / "xrootd.cfg"), "-l", str(work / "log" / "log"), "-n", "t"]
    if os.geteuid() == 0:
        # The server refuses to run as root; its folders have to be its own.
        for path in [work, *work.rglob("*")]:
            shutil.chown(path, "xrootd")
        command[1:1] = ["-R", "xrootd"]
    return XRootD(command, port, work)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
