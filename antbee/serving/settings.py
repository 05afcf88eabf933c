"""The server's settings, read from the environment once at the start.

A value that a setting cannot have, or an `ANTBEE_` name that is not a setting, stops the start:
a misspelt limit that silently does nothing is worse than no server.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError
from pydantic.dataclasses import dataclass

from antbee.errors import SettingsError
from antbee.images import MAX_MEGAPIXELS
from antbee.machine import UPLOADS_MB, cores, threads_of_worker
from antbee.predictor import RUNTIMES
from antbee.typicality import UNKNOWN_BELOW

PREFIX: Final = "ANTBEE_"
WORKERS: Final = "WEB_CONCURRENCY"
QUEUE_PER_THREAD: Final = 32
"""Whoever comes last waits for this many pictures: half a second of small ones, two of the largest
photos, well within what a person or a router waits."""
PLATFORM: Final = (f"{PREFIX}SERVICE_", f"{PREFIX}PORT")
"""What Kubernetes and Docker links set by themselves where something is called antbee."""

Origin = Annotated[
    str, StringConstraints(pattern=r"^https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?$")
]
_WITH_COMMAS: Final = BeforeValidator(
    lambda given: (
        tuple(one.strip(" ") for one in given.split(",")) if isinstance(given, str) else given
    )
)
Origins = Annotated[
    tuple[Annotated[str, Field(pattern=r"^\*$")]] | tuple[Origin, ...], _WITH_COMMAS
]
Keys = Annotated[tuple[Annotated[str, Field(pattern="^[!-~]+$")], ...], _WITH_COMMAS]


def _number(default: float, lowest: float, highest: float) -> Any:  # noqa: ANN401 - as Field
    wanted = f"a number from {lowest:g} to {highest:g}"
    return Field(default, ge=lowest, le=highest, allow_inf_nan=False, description=wanted)


def _whole_number(default: Callable[[], int], lowest: int, highest: int) -> Any:  # noqa: ANN401 - likewise
    wanted = f"a whole number from {lowest} to {highest}"
    return Field(default_factory=default, ge=lowest, le=highest, description=wanted)


def _choice(*choices: str) -> Any:  # noqa: ANN401 - likewise; the first is the default
    pattern = f"^({'|'.join(choices)})$"
    return Field(choices[0], pattern=pattern, description=f"one of {', '.join(choices)}")


@dataclass(frozen=True)
class Settings:
    """Every setting of the server; `ANTBEE_` and the name in capitals is its variable.

    Attributes:
        max_body_mb: the largest request body, in megabytes of 1,000,000 bytes.
        max_megapixels: the largest picture, width times height.
        threads: how many pictures a process decodes and infers at once; by default as many as
            there are cores, or with several workers twice its share of them.
        queue: how many more pictures wait in a process, before the next one gets 429.
        timeout: the longest that one request may take, in seconds, its upload included.
        runtime: what runs the network; `auto` is the fastest of what packing allowed.
        uploads_mb: megabytes of request bodies that a process has in memory at once, before the
            next gets 429; one of `max_body_mb` always finds room in an idle server.
        allow_urls: whether pictures are fetched from addresses that clients send.
        download_threads: how many of those a process downloads at once.
        download_timeout: the longest that one download may take, in seconds, its waiting included.
        max_images: the most pictures in one request.
        api_key: one of these a client must send as a bearer token: two while a new one takes the
            place of an old one; none lets everybody in.
        cors_origins: whose pages may use the API from a browser: origins, or `*` alone for all.
        log: how the access log is written: `text`, or `json`, one object a line.
        feedback: whether people may say which label would have been right.
        unknown_below: the typicality up to which a picture is said to show none of the labels; 0
            for never.
        workers: processes that share the port and the cores; `WEB_CONCURRENCY`, as gunicorn and
            Heroku name it.
    """

    max_body_mb: float = _number(10, 0.001, 1000)
    max_megapixels: float = _number(MAX_MEGAPIXELS, 0.001, 1000)
    threads: int = _whole_number(cores, 1, 1024)
    queue: int = _whole_number(lambda: QUEUE_PER_THREAD * cores(), 0, 100_000)
    timeout: float = _number(25, 0.001, 3600)
    runtime: str = _choice("auto", *RUNTIMES)
    uploads_mb: float = _number(UPLOADS_MB, 0.001, 1_000_000)
    allow_urls: bool = Field(default=False, description="on or off")
    download_threads: int = _whole_number(lambda: 5, 1, 1024)
    download_timeout: float = _number(10, 0.001, 3600)
    max_images: int = _whole_number(lambda: 32, 1, 1000)
    api_key: Keys = Field(
        default=(),
        repr=False,
        description="a key, or several with commas between them, none of them empty, of ASCII "
        "characters that a header can carry: letters, digits and signs, no space",
    )
    cors_origins: Origins = Field(
        default=(),
        description="* or origins such as https://example.com, lower case, with commas between "
        "them",
    )
    log: str = _choice("text", "json")
    feedback: bool = Field(default=False, description="on or off")
    unknown_below: float = _number(UNKNOWN_BELOW, 0, 1)
    workers: int = _whole_number(lambda: 1, 1, 1024)

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
    fields = Settings.__pydantic_fields__  # type: ignore[attr-defined]  # pydantic adds it
    names = {PREFIX + name.upper(): name for name in fields if name != "workers"}
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(PLATFORM) and name not in names:
            raise SettingsError(f"{name} is not a setting: choose from {', '.join(names)}")
    names[WORKERS] = "workers"
    given: dict[str, Any] = {
        setting: environment[name] for name, setting in names.items() if name in environment
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        setting = str(error.errors()[0]["loc"][0])
        variable = next(name for name in names if names[name] == setting)
        # The log is read by more people than a secret is for.
        value = f"={given[setting]!r}" if fields[setting].repr else ""
        wanted = fields[setting].description
        raise SettingsError(f"{variable}{value}: it must be {wanted}") from error
    threads = settings.threads
    if "threads" not in given:
        threads = threads_of_worker(settings.workers, cores())
    queue = settings.queue if "queue" in given else QUEUE_PER_THREAD * threads
    return replace(settings, threads=threads, queue=queue)
