"""The page at `/`, the documentation at `/docs`, and the files that these two load.

Plain files, read once; they talk to the API like any other client, and load nothing from anywhere
else. Knows nothing of models and pictures.
"""

import hashlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).with_name("page")
PAGES: Final = {"/": "index.html", "/docs": "docs.html"}
TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

# Whatever the API answers, a picture's name or a label included, is text to the page: no script,
# style or markup but the files below ever counts, and `innerHTML` is not even possible.
_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",  # the thumbnails and heat maps that the page holds itself
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_HEADERS: Final = {
    # Asked for anew each time, and answered 304: no old script meets a new page after an update.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class File:
    """One file, as an endpoint.

    Args:
        path: is read at once; its suffix is one of `TYPES`.
    """

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._tag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'
        self._type = TYPES[path.suffix]

    async def answer(self, request: Request) -> Response:
        """Answer with the file, or that the client has it already."""
        headers = {**_HEADERS, "ETag": self._tag}
        known = request.headers.get("if-none-match", "").split(",")
        # A proxy that compresses on the way makes the tag a weak one.
        if self._tag in (tag.strip().removeprefix("W/") for tag in known):
            return Response(status_code=304, headers=headers)
        return Response(self._content, headers=headers, media_type=self._type)


_FILES: Final = {f"/page/{path.name}": path for path in sorted(FOLDER.iterdir())} | {
    route: FOLDER / name for route, name in PAGES.items()
}
routes: Final = [
    Route(route, File(path).answer, methods=["GET"])
    for route, path in _FILES.items()
    if path.suffix in TYPES and (route in PAGES or path.suffix != ".html")
]
"""One for each file, so that the metrics know their names."""
