"""The server's settings, read from the environment once at the start.

A value that a setting cannot have, or an `ANTBEE_` name that is not a setting, stops the start:
a misspelt limit that silently does nothing is worse than no server.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from antbee.errors import SettingsError
from antbee.images import MAX_MEGAPIXELS
from antbee.machine import cores
from antbee.predictor import RUNTIMES

PREFIX: Final = "ANTBEE_"
WORKERS: Final = "WEB_CONCURRENCY"
QUEUE_PER_THREAD: Final = 32
"""Whoever comes last waits for this many pictures: half a second of small ones, two of the largest
photos, well within what a person or a router waits."""
PLATFORM: Final = (f"{PREFIX}SERVICE_", f"{PREFIX}PORT")
"""What Kubernetes and Docker links set by themselves where something is called antbee."""
_SWITCH: Final = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not lowest <= value <= highest or math.isnan(value):
            raise ValueError
        return value

    parse.__doc__ = f"a number from {lowest:g} to {highest:g}"
    return parse


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            raise ValueError
        return value

    parse.__doc__ = f"a whole number from {lowest} to {highest}"
    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    parse.__doc__ = f"one of {', '.join(choices)}"
    return parse


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError
    return _SWITCH[text.lower()]


_switch.__doc__ = "on or off"


def _key(text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError
    return text


_key.__doc__ = "ASCII characters that a header can carry: letters, digits and signs, no space"

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(","))
    if origins != ("*",) and not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError
    return origins


_origins.__doc__ = "* or origins such as https://example.com, lower case, with commas between them"


def _setting(
    parse: Callable[[str], Any], default: Callable[[], Any], *, secret: bool = False
) -> Any:  # noqa: ANN401 - as dataclasses.field
    metadata = {"parse": parse, "secret": secret}
    return field(default_factory=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """Every setting of the server; `ANTBEE_` and the name in capitals is its variable.

    Attributes:
        max_body_mb: the largest request body, in megabytes of 1,000,000 bytes.
        max_megapixels: the largest picture, width times height.
        threads: how many pictures a process decodes and infers at once; by default the workers
            share the cores.
        max_images: the most pictures in one request.
        queue: how many more pictures wait in a process, before the next one gets 429.
        timeout: the longest that one request may take, in seconds, its upload included.
        runtime: what runs the network; `auto` is the fastest of what packing allowed.
        uploads_mb: megabytes of request bodies that a process holds at once, before the next gets
            429; one of `max_body_mb` always finds room in an idle server.
        allow_urls: whether pictures are fetched from addresses that clients send.
        download_threads: how many of those a process downloads at once.
        download_timeout: the longest that one download may take, in seconds, its waiting included.
        api_key: what a client must send as a bearer token; None lets everybody in.
        cors_origins: whose pages may use the API from a browser: origins, or `*` alone for all.
        log: how the access log is written: `text`, or `json`, one object a line.
        workers: processes that share the port and the cores; `WEB_CONCURRENCY`, as gunicorn and
            Heroku name it.
    """

    max_body_mb: float = _setting(_number(0.001, 1000), lambda: 10.0)
    max_megapixels: float = _setting(_number(0.001, 1000), lambda: float(MAX_MEGAPIXELS))
    threads: int = _setting(_whole_number(1, 1024), cores)
    queue: int = _setting(_whole_number(0, 100_000), lambda: QUEUE_PER_THREAD * cores())
    timeout: float = _setting(_number(0.001, 3600), lambda: 25.0)
    runtime: str = _setting(_choice("auto", *RUNTIMES), lambda: "auto")
    uploads_mb: float = _setting(_number(0.001, 1_000_000), lambda: 200.0)
    allow_urls: bool = _setting(_switch, lambda: False)
    download_threads: int = _setting(_whole_number(1, 1024), lambda: 5)
    download_timeout: float = _setting(_number(0.001, 3600), lambda: 10.0)
    max_images: int = _setting(_whole_number(1, 1000), lambda: 32)
    api_key: str | None = _setting(_key, lambda: None, secret=True)
    cors_origins: tuple[str, ...] = _setting(_origins, tuple)
    log: str = _setting(_choice("text", "json"), lambda: "text")
    workers: int = 1

    @property
    def max_body(self) -> int:
        """The largest request body in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def uploads(self) -> int:
        """The bodies that are held at once, in bytes."""
        return int(self.uploads_mb * 1_000_000)

    @property
    def max_pixels(self) -> int:
        """The largest width times height of a picture."""
        return int(self.max_megapixels * 1_000_000)


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environment`.

    Raises:
        SettingsError: names the variable, its value, and what it may be.
    """
    known = {PREFIX + item.name.upper(): item for item in fields(Settings) if item.metadata}
    given = {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX) and not name.startswith(PLATFORM)
    }
    for name in sorted(given):
        if name not in known:
            raise SettingsError(f"{name} is not a setting: choose from {', '.join(known)}")
    values = {
        known[name].name: _parse(name, value, **known[name].metadata)
        for name, value in given.items()
    }
    workers = _parse(WORKERS, environment.get(WORKERS, "1"), _whole_number(1, 1024))
    threads = values.setdefault("threads", max(1, cores() // workers))
    values.setdefault("queue", QUEUE_PER_THREAD * threads)
    return Settings(**values, workers=workers)


def _parse(name: str, value: str, parse: Callable[[str], Any], *, secret: bool = False) -> Any:  # noqa: ANN401 - a setting's own type
    try:
        return parse(value)
    except ValueError as error:
        # The log is read by more people than a secret is for.
        given = name if secret else f"{name}={value!r}"
        raise SettingsError(f"{given}: it must be {parse.__doc__}") from error
