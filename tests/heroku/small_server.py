"""A server that answers as the service does, and starts at once: `small_server.py PORT`."""

import http.server
import json
import sys


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the service does."""

    def do_GET(self) -> None:
        """Say that it is ready."""
        self.answer({"status": "ok"})

    def do_POST(self) -> None:
        """Say how many bytes came, and which the first two are."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"label": body[:2].decode(), "bytes": len(body), "model": "model:1"})

    def answer(self, content: object) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Server).serve_forever()
