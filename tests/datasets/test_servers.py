"""What servers answer besides the file, and what stands between them and a run."""

from __future__ import annotations

import gzip
import http.server
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uproot

from analysis.datasets import remote, web
from analysis.datasets.addresses import shown
from analysis.datasets.catalogue import Catalogue, Dataset, address_fault
from analysis.datasets.remote import Access
from analysis.execution import loop
from analysis.execution.runner import Result
from tests.execution.small import EVENTS, assert_same_output, catalogue_of, process, write_file

pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

PAGE = b"<!DOCTYPE html><html><body>Sign in to go on</body></html>" * 20
NAME = "a.root"


class Answer(NamedTuple):
    status: int
    content: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


Serve = Callable[[Callable[[Any], Answer]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers requests by a function; its address."""
    servers = []

    def start(answer: Callable[[Any], Answer]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, content, headers = answer(self)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_memory_of_failed_servers() -> None:
    remote._failed_at.clear()


def part(content: bytes, request: Any) -> Answer:
    """The file, or the range of bytes of it that was asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None:
        return Answer(200, content)
    first, last = int(asked[1]), min(int(asked[2] or 10**9), len(content) - 1)
    place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
    return Answer(206, content[first : last + 1], place)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    write_file(tmp_path / NAME)
    return (tmp_path / NAME).read_bytes()


def read(base: str, events: int = EVENTS, **options: Any) -> Result:
    access = Access(**{"attempts": 1, **options.pop("access", {})})
    return process(catalogue_of(base, [NAME], events), access=access, retries=0, **options)


@pytest.mark.parametrize(
    "what", ["page", "older", *(pytest.param(w, marks=pytest.mark.full) for w in ("empty", "half"))]
)
def test_a_replica_with_something_else_is_passed_by(
    serve: Serve, content: bytes, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And blamed by its own address where no other one has the file."""
    older = tmp_path / "older" / NAME
    older.parent.mkdir()
    write_file(older, events=EVENTS // 2)
    given = {
        "page": PAGE,
        "empty": b"",
        "half": content[: len(content) // 2],
        "older": older.read_bytes(),
    }[what]
    replica = serve(lambda request: part(given, request))
    own = serve(lambda request: part(content, request))
    want = read(str(tmp_path))
    got = read(own, access={"replicas": (replica,)})
    assert_same_output(got, want)
    assert f"{replica}/{NAME}: " in caplog.text
    remote._failed_at.clear()
    (failure, *_) = read("http://127.0.0.1:9", access={"replicas": (replica,)}).ledger.failures
    assert f"{replica}: " in failure.reason


def test_a_replica_that_is_damaged_in_the_middle_is_left(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_file(tmp_path / NAME, events=1000, compression=uproot.ZLIB(1))
    content = (tmp_path / NAME).read_bytes()
    with uproot.open(tmp_path / NAME) as file:
        place = file["Events"]["Muon_pt"].basket(0).cursor.index + 200
    damaged = content[:place] + b"\0" * 100 + content[place + 100 :]
    replica = serve(lambda request: part(damaged, request))
    catalogue = catalogue_of(serve(lambda request: part(content, request)), [NAME], 1000)
    result = process(catalogue, access=Access((replica,)), chunk_size=1000, retries=1)
    assert_same_output(result, process(catalogue_of(tmp_path, [NAME], 1000), chunk_size=1000))
    assert re.search(f"{replica}/{NAME}: damaged: .*: trying the next replica", caplog.text)


def whole(content: bytes, _: Any) -> Answer:
    return Answer(200, content)


def elsewhere(content: bytes, request: Any) -> Answer:
    answer = part(content, request)
    return answer._replace(headers={"Content-Range": f"bytes 7-99/{len(content)}"})


def compressed(content: bytes, request: Any) -> Answer:
    answer = part(content, request)
    packed = gzip.compress(answer.content)
    return answer._replace(content=packed, headers={**answer.headers, "Content-Encoding": "gzip"})


def page(*_: Any) -> Answer:
    return Answer(200, PAGE)


@pytest.mark.parametrize(
    ("faulty", "after", "said"),
    [
        (whole, 0, "does not send ranges (parts) of a file: --cache copies it whole"),
        (whole, 2, "does not send ranges (parts) of a file: --cache copies it whole"),
        (compressed, 0, "compresses the ranges (parts) of a file (gzip): --cache copies it whole"),
        pytest.param(
            elsewhere,
            2,
            "the server sent the bytes from 7 on where those from",
            marks=pytest.mark.full,
        ),
        pytest.param(page, 2, "not a ROOT file: begins with b'<!DOCTYPE", marks=pytest.mark.full),
    ],
)
def test_what_is_not_the_part_that_was_asked_for_is_named(
    serve: Serve, content: bytes, tmp_path: Path, faulty: Any, after: int, said: str
) -> None:
    """From the first answer on, or in the middle of a file; the whole file may be there for a copy."""
    answers = itertools.count()

    def answer(request: Any) -> Answer:
        if request.command == "HEAD" or "Range" not in request.headers:
            return whole(content, request)
        return (part if next(answers) < after else faulty)(content, request)

    own = serve(answer)
    reasons = {failure.reason for failure in read(own).ledger.failures}
    assert said in reasons.pop()
    assert_same_output(read(own, access={"cache": tmp_path / "cache"}), read(str(tmp_path)))


def test_a_server_that_says_another_size_is_read(
    serve: Serve, content: bytes, tmp_path: Path
) -> None:
    def answer(request: Any) -> Answer:
        return Answer(200) if request.command == "HEAD" else part(content, request)

    assert_same_output(read(serve(answer)), read(str(tmp_path)))


def test_of_a_server_that_compresses_the_cache_has_the_file(
    serve: Serve, content: bytes, tmp_path: Path
) -> None:
    """It does not say the size of the file, and sends no parts; one that can send them is asked to."""
    asked: set[str] = set()

    def answer(request: Any) -> Answer:
        asked.add(request.headers["Accept-Encoding"])
        return Answer(200, gzip.compress(content), {"Content-Encoding": "gzip"})

    result = read(serve(answer), access={"cache": tmp_path / "cache"})
    assert_same_output(result, read(str(tmp_path)))
    assert asked == {"identity"}


@pytest.mark.parametrize("ranges", [True, False])
def test_half_a_file_does_not_stay_in_the_cache(
    serve: Serve, content: bytes, tmp_path: Path, ranges: bool
) -> None:
    whole = threading.Event()

    def answer(request: Any) -> Answer:
        given = content if whole.is_set() else content[: len(content) // 2]
        return part(given, request) if ranges else Answer(200, given)

    own, access = serve(answer), {"cache": tmp_path / "cache"}
    (failure, *_) = read(own, access=access).ledger.failures
    assert failure.reason.startswith("truncated: ")
    whole.set()
    assert_same_output(read(own, access=access), read(str(tmp_path)))


def test_an_address_of_ipv6_is_written_in_full() -> None:
    fault = address_fault("http://[::1]:80/a.root")
    assert fault is not None
    assert "write it in full, as [0:0:0:0:0:0:0:1]" in fault
    assert address_fault("http://[0:0:0:0:0:0:0:1]:80/a.root") is None
    assert web._LOOPBACK.match("http://[0:0:0:0:0:0:0:1]:80/a.root")


def test_the_proxy_of_the_environment_is_used_except_for_this_machine(
    serve: Serve, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def proxy(request: Any) -> Answer:
        asked.append(request.path)
        return part(content, request)

    address = serve(proxy)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    want = read(str(tmp_path))
    assert_same_output(read("http://ntuples.invalid"), want)
    assert set(asked) == {f"http://ntuples.invalid/{NAME}"}
    asked.clear()
    assert_same_output(read(serve(lambda request: part(content, request))), want)
    assert not asked


def test_a_server_is_asked_again_when_it_says(
    serve: Serve, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seconds or by a date; not by each worker, but by the run, which goes on meanwhile."""
    waits: list[float] = []
    later = loop._Waiting.later

    def waited(self: Any, chunk: int, delay: float) -> None:
        waits.append(delay)
        later(self, chunk, 0)

    monkeypatch.setattr(loop._Waiting, "later", waited)
    asked = itertools.count()
    said = ["7", formatdate(time.time() + 60, usegmt=True)]

    def answer(request: Any) -> Answer:
        if (n := next(asked)) < 2:
            return Answer(503, headers={"Retry-After": said[n]})
        return part(content, request)

    own = serve(answer)
    catalogue = catalogue_of(own, [NAME])
    result = process(catalogue, access=Access(attempts=3), retries=3, chunk_size=EVENTS)
    assert_same_output(result, read(str(tmp_path)))
    assert waits[0] == 7
    assert 30 < waits[1] <= 60


def test_an_error_in_the_middle_of_a_file_is_told_as_it_is(
    serve: Serve, content: bytes, tmp_path: Path
) -> None:
    """Where several parts of the file are asked for together: another try has them."""
    answers = itertools.count(1)

    def answer(request: Any) -> Answer:
        if request.command == "GET" and next(answers) in failing:
            return Answer(503)
        return part(content, request)

    own, failing = serve(answer), range(5, 100)
    once = process(catalogue_of(own, [NAME]), access=Access(attempts=1), retries=0)
    reasons = {failure.reason.partition(",")[0] for failure in once.ledger.failures}
    assert reasons == {"ClientResponseError: 503"}
    answers, failing = itertools.count(1), range(5, 6)
    assert_same_output(process(catalogue_of(own, [NAME])), read(str(tmp_path)))


def test_an_answer_that_was_cut_is_asked_for_again(
    serve: Serve, content: bytes, tmp_path: Path
) -> None:
    cuts = itertools.count()

    def answer(request: Any) -> Answer:
        whole = part(content, request)
        if request.command == "GET" and len(whole.content) > 200 and next(cuts) < 1:
            return whole._replace(content=whole.content[:-50])
        return whole

    result = process(catalogue_of(serve(answer), [NAME]), retries=2)
    assert_same_output(result, read(str(tmp_path)))
    assert next(cuts) > 1


def test_secrets_of_addresses_stay_in_the_catalogue(
    serve: Serve, content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def answer(request: Any) -> Answer:
        seen.append((request.headers.get("Authorization"), request.path))
        return part(content, request) if NAME in request.path else Answer(404)

    base = serve(answer).replace("://", "://ana:s3cret@")
    catalogue = catalogue_of(base, [f"{NAME}?token=s3cret", "missing.root?access_key=s3cret"])
    folder = tmp_path / "checkpoints"
    for resume in (False, True):
        result = process(catalogue, checkpoints=folder, resume=resume, retries=0)
        assert result.ledger.events_processed == EVENTS
        result.ledger.write(tmp_path / "out")
    told = [*(tmp_path / "out").rglob("*"), *folder.rglob("*")]
    texts = [path.read_bytes().decode(errors="replace") for path in told if path.is_file()]
    assert not [text for text in [*texts, caplog.text] if "s3cret" in text]
    assert result.ledger.failures[0].file.endswith("missing.root?access_key=***")
    assert {account is not None for account, _ in seen} == {True}
    assert any(path.endswith("?token=s3cret") for _, path in seen)


def test_what_is_shown_of_an_address() -> None:
    for text, wanted in (
        ("https://ana:pw@host/a.root", "https://ana:***@host/a.root"),
        ("https://ana:p@w@host/a.root", "https://ana:***@host/a.root"),
        ("https://glpat_0123456789abcdef@h/a", "https://***@h/a"),
        ("root://u:p@h//x; https://:pw@h/y", "root://u:***@h//x; https://:***@h/y"),
        ("https://h/a?X-Amz-Signature=1f&n=2", "https://h/a?X-Amz-Signature=***&n=2"),
        ("https://h/a?st=x&se=y&sp=r&sig=z", "https://h/a?st=***&se=***&sp=***&sig=***"),
        ("https://h/a?Policy=ab_&Key-Pair-Id=K", "https://h/a?Policy=***&Key-Pair-Id=***"),
        ("https://h/a?authz=abc, status=403", "https://h/a?authz=***, status=403"),
        ("url='https://h/a?code=1'", "url='https://h/a?code=***'"),
        ("https://h/a#access_token=1", "https://h/a#access_token=***"),
        ("a.root?access_key=k: no such file", "a.root?access_key=*** no such file"),
        ("https://h/get?file=a.root&download=1", "https://h/get?file=a.root&download=1"),
        ("https://h:8080/a@b/c:d?n=2", "https://h:8080/a@b/c:d?n=2"),
        ("http://[0:0:0:0:0:0:0:1]:80/a", "http://[0:0:0:0:0:0:0:1]:80/a"),
        ("/data/user:me@host/a.root", "/data/user:me@host/a.root"),
        ("really? x=3", "really? x=3"),
        ("r\udce9sultats", r"r\xe9sultats"),
        ("μ+μ−", "μ+μ−"),
    ):
        assert shown(text) == wanted


def test_files_that_differ_in_what_is_not_shown(
    serve: Serve, content: bytes, tmp_path: Path
) -> None:
    """Each is read, and none is taken for the other; a skim has the events of both."""
    write_file(tmp_path / "b.root", events=EVENTS + 2)
    files = {"k=1": content, "k=2": (tmp_path / "b.root").read_bytes()}
    base = serve(lambda request: part(files[request.path.partition("?")[2]], request))
    events = {"get?k=1": EVENTS, "get?k=2": EVENTS + 2}
    data = Dataset(process="data", kind="collision", channel="muon", files=events)
    result = process(Catalogue(tree="Events", base=base, datasets={"data__a": data}), retries=0)
    assert result.ledger.complete
    shown_files = [file.url for file in result.ledger.datasets["data__a"].files]
    assert len(set(shown_files)) == 2
    assert all(re.fullmatch(r".*/get\?k=\*\*\*#[0-9a-f]{16}", url) for url in shown_files)
