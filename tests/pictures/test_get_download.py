"""Fetching, from a server of this machine's own; plain HTTP, with the rule for https set aside."""

import errno
import hashlib
import http.server
import io
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from types import SimpleNamespace

import pytest

from antbee.errors import DataError
from antbee.pictures import get
from tests.pictures.archives import MEMBERS, RENAMES, TREE, make_zip, names_in, read_tree

Handler = http.server.BaseHTTPRequestHandler
Serve = Callable[[Callable[[Handler], None]], str]


class _Quiet(Handler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that answer every GET with a function, and stop them in the end."""
    servers = []

    def start(answer: Callable[[Handler], None]) -> str:
        handler = type("Answer", (_Quiet,), {"do_GET": answer})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{server.server_port}/pictures.zip"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _send(handler: Handler, contents: bytes, length: int | None = None) -> None:
    """Answer 200, with a Content-Length if one is given, true or not."""
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(contents)


def _send_status(handler: Handler, status: int, location: str = "") -> None:
    handler.send_response(status)
    if location:
        handler.send_header("Location", location)
    handler.end_headers()


def _fetch(url: str, folder: Path) -> bytes:
    with get.fetched(url, folder) as file:
        return file.read()


def _untrusted(reason: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_message = reason  # as the ssl module does
    return error


def _error(url: str, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        _fetch(url, folder)
    assert names_in(folder) == []
    return str(caught.value)


@pytest.mark.parametrize("length", [300_000, None])
def test_fetches_a_file(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], length: int | None
) -> None:
    """What the server sends arrives, whether it says how much or not; a log gets one line."""
    url = serve(lambda handler: _send(handler, b"abc" * 100_000, length))

    assert _fetch(url, tmp_path) == b"abc" * 100_000
    assert capsys.readouterr().err == f"downloading {url}{' (0.3 MB)' if length else ''}\n"


def test_the_file_has_no_name(serve: Serve, tmp_path: Path) -> None:
    """A download that is killed leaves nothing, because its file is in no folder."""
    url = serve(lambda handler: _send(handler, b"abc", 3))

    with get.fetched(url, tmp_path):
        assert names_in(tmp_path) == []


def test_a_terminal_shows_a_bar(
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person sees how far it is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    _fetch(serve(lambda handler: _send(handler, bytes(300_000), 300_000)), tmp_path)

    assert capsys.readouterr().err.endswith(f"\r    0.3 MB  [{'#' * 30}] 100 %\n")


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (503, "503 Service Un")])
def test_the_server_refuses(serve: Serve, tmp_path: Path, status: int, words: str) -> None:
    """An error's status and the way out are in the line."""
    line = _error(serve(lambda handler: _send_status(handler, status)), tmp_path)

    assert f"the server answered {words}" in line
    assert line.endswith("give a copy as DATA_URL=FILE.zip, or draw pictures with --sample")


def test_cut_off(serve: Serve, tmp_path: Path) -> None:
    """Fewer bytes than announced are no get."""
    line = _error(serve(lambda handler: _send(handler, b"abc", 1000)), tmp_path)

    assert "it was cut off on the way" in line


def test_cut_off_in_pieces(serve: Serve, tmp_path: Path) -> None:
    """A download in chunks that ends in one is cut off too."""

    def answer(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"10\r\nabc")
        handler.close_connection = True

    assert "it was cut off on the way" in _error(serve(answer), tmp_path)


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_stalls(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """A server that goes silent is given up, before its answer or within it."""
    monkeypatch.setattr(get, "TIMEOUT", 0.2)
    done = threading.Event()

    def answer(handler: Handler) -> None:
        if begun:
            _send(handler, b"abc", 1000)
        done.wait(20)

    line = _error(serve(answer), tmp_path)
    done.set()

    assert "no answer for 0.2 seconds" in line


def test_not_http(serve: Serve, tmp_path: Path) -> None:
    """A server that speaks something else is an error like any other."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"220 hello\r\n")

    assert "cannot download" in _error(serve(answer), tmp_path)


def test_redirects_keep_to_https(serve: Serve, tmp_path: Path) -> None:
    """A server cannot send us on to an address without encryption."""
    url = serve(lambda handler: _send_status(handler, 302, "http://127.0.0.1/"))

    assert f"{url} leads on to an address that is not https" in _error(url, tmp_path)


def test_redirects_keep_to_the_network(serve: Serve, tmp_path: Path) -> None:
    """A server cannot have us read a file of this machine."""
    url = serve(lambda handler: _send_status(handler, 302, "file:///etc/passwd"))

    assert "the server answered 302 Found" in _error(url, tmp_path)


def test_redirects_to_https_are_followed() -> None:
    """A download that has moved is found."""
    request = urllib.request.Request("https://old.example/x.zip")

    moved = get.HttpsRedirects().redirect_request(
        request, io.BytesIO(), 302, "Found", HTTPMessage(), "https://new.example/x.zip"
    )

    assert moved is not None
    assert moved.full_url == "https://new.example/x.zip"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (socket.gaierror(-3, "name"), "there is no network, or no such server: try again"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), ": Network is unreachable: try"),
        (_untrusted("no issuer"), "the server's certificate is not trusted (no issuer)"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), ": Connection reset: try"),
    ],
)
def test_faults_on_the_way(
    tmp_path: Path, fault: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps a connection from being made is said in words."""

    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError(fault)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fail)

    assert words in _error("https://x/", tmp_path)


def test_too_large(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not stop sending is stopped."""
    monkeypatch.setattr(get, "MAX_BYTES", 100_000)
    url = serve(lambda handler: _send(handler, bytes(300_000)))

    assert "is larger than 0.1 MB" in _error(url, tmp_path)


def test_no_room(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that the disk cannot hold is not begun."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    url = serve(lambda handler: _send(handler, b"", 5_000_000))

    with pytest.raises(OSError, match=r"5\.0 MB are needed and 2\.0 MB are free"):
        _fetch(url, tmp_path)


def test_secrets_stay_out_of_the_log(serve: Serve, tmp_path: Path) -> None:
    """A signed address is shown without its signature."""
    url = serve(lambda handler: _send_status(handler, 403))

    line = _error(f"{url}?signature=secret", tmp_path)

    assert f"cannot download {url}: " in line
    assert "secret" not in line
    assert get.redacted("https://me:secret@host/x.zip?token=secret") == "https://host/x.zip"


@pytest.mark.parametrize("right", [True, False])
def test_the_checksum_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: bool
) -> None:
    """An archive other than the one that was meant is not used."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    expected = hashlib.sha256(path.read_bytes() + (b"" if right else b"!")).hexdigest()

    code = get.main([str(path), str(tmp_path / "data"), *RENAMES, "--sha256", expected])

    assert code == (0 if right else 1)
    assert (f"not {expected}: try again" in capsys.readouterr().err) is not right
    assert (tmp_path / "data").exists() is right


def test_the_whole_way(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the server to the folder."""
    contents = make_zip(tmp_path / "x.zip", MEMBERS).read_bytes()
    url = serve(lambda handler: _send(handler, contents, len(contents)))
    monkeypatch.setattr(get, "find_local", lambda _: None)

    assert get.main([url, str(tmp_path / "data"), *RENAMES]) == 0
    assert read_tree(tmp_path / "data") == TREE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_downloading(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM exit with 130 and leave nothing behind."""
    done = threading.Event()

    def answer(handler: Handler) -> None:
        _send(handler, bytes(100_000), 1_000_000)
        done.wait(60)

    process = _start(serve(answer), tmp_path / "data")
    _wait_for(lambda: names_in(tmp_path) == [f".data.antbee-{process.pid}"])
    time.sleep(0.2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    done.set()

    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert names_in(tmp_path) == []


def _start(url: str, folder: Path) -> subprocess.Popen[str]:
    script = (
        "import sys\n"
        "from antbee.pictures import get\n"
        "get.find_local = lambda _: None\n"
        "raise SystemExit(get.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, url, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
