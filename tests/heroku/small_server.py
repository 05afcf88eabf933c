"""A server that answers as the service does, and starts at once: `small_server.py PORT`.

It answers as Lambda's emulator, too, where it gets an event.
"""

import base64
import http.server
import json
import os
import sys

KEY = os.environ.get("SMALL_SERVER_KEY")


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the service does."""

    def do_GET(self) -> None:
        """Say that it is ready."""
        self.answer({"status": "ok"})

    def do_POST(self) -> None:
        """Say how many bytes came, and which the first two are."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if KEY and self.headers["Authorization"] != f"Bearer {KEY}":
            self.send_error(401)
            return
        if self.path.endswith("/invocations"):
            answer = self.classify(base64.b64decode(json.loads(body)["body"]))
            self.answer({"statusCode": 200, "body": json.dumps(answer)})
        else:
            self.answer(self.classify(body))

    def classify(self, body: bytes) -> object:
        """Make an answer."""
        label = body[:2].decode()
        return {
            "label": label,
            "bytes": len(body),
            "model": "model:1",
            "probabilities": {label: 1},
            "key": self.headers["Authorization"],
        }

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
