"""What a function URL does between HTTP and a Lambda function.

    python benchmarks/gateway.py 3000 http://127.0.0.1:8080

Listens on the first, and asks Lambda's emulator at the second, which answers one event at a time
and dies of two. What asks a server over HTTP can ask a function so, `conformance.py --url` too.
"""

import base64
import http.client
import json
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

Json = dict[str, Any]
Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and body."""

INVOCATIONS: Final = "/2015-03-31/functions/function/invocations"
MOST_BYTES: Final = 6_291_456
TEXT: Final = ("text/", "application/json", "application/javascript", "application/xml")
"""How those content types begin that AWS hands over as text."""
TOO_LARGE: Final[Answer] = 413, [], b'{"Message":"Request must be smaller than 6291456 bytes"}'
FAILED: Final[Answer] = 502, [], b"Internal Server Error"


def to_event(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    address: str = "203.0.113.7",
) -> Json:
    """Make an event of payload format 2.0 of an HTTP request."""
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.lower(), []).append(value)
    cookies = [one.strip() for line in named.pop("cookie", []) for one in line.split(";")]
    joined = {name: ",".join(values) for name, values in named.items()}
    joined |= {"x-forwarded-for": address, "x-forwarded-proto": "https", "x-forwarded-port": "443"}
    path, _, query = target.partition("?")
    event: Json = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.lambda-url.eu-central-1.on.aws",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": address,
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": int(1000 * time.time()),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if body and joined.get("content-type", "").lower().startswith(TEXT):
        event["body"] = body.decode("utf-8", "replace")
    elif body:
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event


def from_answer(answer: Any) -> Answer:  # noqa: ANN401 - whatever JSON holds
    """Make an HTTP answer of a function's."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return FAILED
    body = answer.get("body", "")
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    cookies = [("set-cookie", one) for one in answer.get("cookies", ())]
    return answer["statusCode"], [*answer.get("headers", {}).items(), *cookies], content


class Gateway(ThreadingHTTPServer):
    """Listens on a port of this machine, and asks the function behind `url`."""

    def __init__(self, port: int, url: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._emulator = urlsplit(url).netloc
        self._one_at_a_time = threading.Lock()

    def invoke(self, event: Json) -> Answer:
        """Let the function answer an event."""
        content = json.dumps(event).encode()
        if len(content) > MOST_BYTES:
            return TOO_LARGE
        try:
            with self._one_at_a_time:
                connection = http.client.HTTPConnection(self._emulator)
                connection.request("POST", INVOCATIONS, content)
                answer = connection.getresponse().read()
                connection.close()
            return from_answer(json.loads(answer))
        except (OSError, http.client.HTTPException, ValueError):  # it has failed, or is not there
            return FAILED


class Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    server: Gateway

    def handle_one_request(self) -> None:
        """Answer a request, whatever its method is."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._read()
        if body is None:
            self.close_connection = True
            status, headers, content = TOO_LARGE
        else:
            target = self.path
            if not target.startswith("/"):  # the whole address, as to a proxy
                target = urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"
            event = to_event(self.command, target, self.headers.items(), body, "127.0.0.1")
            status, headers, content = self.server.invoke(event)
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(content)}", *["Connection: close"] * self.close_connection]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(head + (b"" if self.command == "HEAD" else content))

    def _read(self) -> bytes | None:
        """Read the request's body; None where it is too large."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = self.headers.get("content-length", "").lstrip("0") or "0"
        if not (length.isascii() and length.isdecimal()) or len(length) > len(str(MOST_BYTES)):
            return None
        return self.rfile.read(int(length)) if int(length) <= MOST_BYTES else None


def main(arguments: Sequence[str]) -> int:
    """Serve until the end."""
    port, url = arguments
    with Gateway(int(port), url) as gateway:
        gateway.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
