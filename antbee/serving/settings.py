"""The server's settings, read from the environment once at the start.

A value that a setting cannot have, or an `ANTBEE_` name that is not a setting, stops the start:
a misspelt limit that silently does nothing is worse than no server.
"""

import math
import os
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


def _setting(parse: Callable[[str], Any], default: Callable[[], Any]) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default_factory=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """Every setting of the server; `ANTBEE_` and the name in capitals is its variable.

    Attributes:
        max_body_mb: the largest request body, in megabytes of 1,000,000 bytes.
        max_megapixels: the largest picture, width times height.
        threads: how many pictures a process decodes and infers at once; by default the workers
            share the cores.
        queue: how many more requests a process holds, before the next one gets 429.
        timeout: the longest that one request may take, in seconds, its upload included.
        runtime: what runs the network; `auto` is the fastest of what packing allowed.
        workers: processes that share the port and the cores; `WEB_CONCURRENCY`, as gunicorn and
            Heroku name it.
    """

    max_body_mb: float = _setting(_number(0.001, 1000), lambda: 10.0)
    max_megapixels: float = _setting(_number(0.001, 1000), lambda: float(MAX_MEGAPIXELS))
    threads: int = _setting(_whole_number(1, 1024), cores)
    queue: int = _setting(_whole_number(0, 100_000), lambda: QUEUE_PER_THREAD * cores())
    timeout: float = _setting(_number(0.001, 3600), lambda: 25.0)
    runtime: str = _setting(_choice("auto", *RUNTIMES), lambda: "auto")
    workers: int = 1

    @property
    def max_body(self) -> int:
        """The largest request body in bytes."""
        return int(self.max_body_mb * 1_000_000)

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
        known[name].name: _parse(name, value, known[name].metadata["parse"])
        for name, value in given.items()
    }
    workers = _parse(WORKERS, environment.get(WORKERS, "1"), _whole_number(1, 1024))
    threads = values.setdefault("threads", max(1, cores() // workers))
    values.setdefault("queue", QUEUE_PER_THREAD * threads)
    return Settings(**values, workers=workers)


def _parse(name: str, value: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401 - a setting's own type
    try:
        return parse(value)
    except ValueError as error:
        raise SettingsError(f"{name}={value!r}: it must be {parse.__doc__}") from error
