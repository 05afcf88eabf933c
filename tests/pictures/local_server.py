"""A web server of this machine's own, that answers as a test wants it to."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Handler = http.server.BaseHTTPRequestHandler
Serve = Callable[[Callable[[Handler], None]], str]


@contextmanager
def local_servers() -> Iterator[Serve]:
    """Yield what starts a server that answers every GET with a function; it returns the address."""
    servers = []

    def serve(answer: Callable[[Handler], None]) -> str:
        handler = type("Answer", (_Quiet,), {"do_GET": answer})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{server.server_port}/pictures.zip"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler: Handler, contents: bytes, length: int | None = None) -> None:
    """Answer 200, with a Content-Length if one is given, true or not."""
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(contents)


def send_status(handler: Handler, status: int, location: str = "") -> None:
    """Answer with a status and no body."""
    handler.send_response(status)
    if location:
        handler.send_header("Location", location)
    handler.end_headers()


class _Quiet(Handler):
    def log_message(self, *_: object) -> None:
        pass
