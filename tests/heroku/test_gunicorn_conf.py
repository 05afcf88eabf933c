"""What gunicorn.conf.py makes of a machine."""

import runpy
from typing import Any

import pytest

from antbee.serving.settings import read_settings
from tests.conftest import REPOSITORY

CONF = REPOSITORY / "heroku/gunicorn.conf.py"


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the settings' file with nothing set, and return all that it defines."""
    for name in ("WEB_CONCURRENCY", "PORT", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.environ", {})
    return runpy.run_path(str(CONF))


@pytest.mark.parametrize(
    ("megabytes", "cores", "workers"),
    [
        (256, 1, 1),
        (512, 1, 1),
        (536, 8, 1),
        (1073, 8, 2),
        (2684, 4, 4),
        (2684, 8, 5),
        (15032, 8, 8),
    ],
)
def test_workers_fit_the_memory(
    conf: dict[str, Any], megabytes: int, cores: int, workers: int
) -> None:
    """One worker a core, as far as the memory goes, and never none."""
    assert workers == conf["default_workers"](megabytes, cores)


@pytest.mark.parametrize("megabytes", [536, 1073, 2684, 15032])
@pytest.mark.parametrize("cores", [1, 2, 8])
def test_limits_fit_the_memory(conf: dict[str, Any], megabytes: int, cores: int) -> None:
    """The uploads, and one large picture, of every worker fit in what the workers leave."""
    workers = conf["default_workers"](megabytes, cores)
    limits = conf["limits"](megabytes, workers, cores)
    settings = read_settings(limits)
    large = settings.max_megapixels * conf["BYTES_A_PIXEL"]
    small = conf["SMALL_MB"] * settings.threads

    needed = workers * (conf["WORKER_MB"] + settings.uploads_mb + large + small)
    assert needed + conf["MASTER_MB"] <= megabytes
    assert settings.max_megapixels >= 12.2  # 4032 by 3024, as telephones take them
    assert settings.threads * workers <= max(cores, workers)


def test_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has set is left alone."""
    given = {"WEB_CONCURRENCY": "3", "ANTBEE_TIMEOUT": "7", "PORT": "1234"}
    monkeypatch.setattr("os.environ", given)
    conf = runpy.run_path(str(CONF))

    assert conf["workers"] == 3
    assert given["ANTBEE_TIMEOUT"] == "7"
    assert all(address.endswith(":1234") for address in conf["bind"])


def test_everything_ends_in_time(conf: dict[str, Any]) -> None:
    """Requests end before the graceful stop does, and the router lets go before we do."""
    timeout = float(conf["os"].environ["ANTBEE_TIMEOUT"])

    assert timeout < conf["graceful_timeout"] < 25
    assert conf["keepalive"] > 90


@pytest.mark.parametrize(
    ("ipv6", "addresses"), [(True, ["[::]:80"]), (False, ["0.0.0.0:80"])], ids=["ipv6", "ipv4"]
)
def test_listens_on_what_there_is(conf: dict[str, Any], ipv6: bool, addresses: list[str]) -> None:
    """IPv6 takes IPv4 as well; without it, IPv4 it is."""
    function = conf["addresses"]
    function.__globals__["has_ipv6"] = lambda: ipv6

    assert addresses == function("80")


def test_bad_number_of_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of workers that is none stops the start with its name and value."""
    monkeypatch.setattr("os.environ", {"WEB_CONCURRENCY": "auto"})

    with pytest.raises(SystemExit, match="WEB_CONCURRENCY='auto'"):
        runpy.run_path(str(CONF))
