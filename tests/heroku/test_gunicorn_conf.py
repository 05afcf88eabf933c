"""What gunicorn.conf.py makes of a machine."""

import asyncio
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from antbee.machine import MB, cores, limits_of_worker, memory_limit, workers_that_fit
from antbee.serving.observe import DIRECTORY
from tests.conftest import REPOSITORY

CONF = REPOSITORY / "heroku/gunicorn.conf.py"


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the settings' file with nothing set, and return all that it defines."""
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in ("WEB_CONCURRENCY", "PORT", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.environ", {})
    return runpy.run_path(str(CONF))


def test_a_worker_gets_its_share_of_this_machine(conf: dict[str, Any]) -> None:
    """What `antbee.machine` says of this machine's memory and cores is what a worker reads."""
    memory = memory_limit() // MB
    workers = workers_that_fit(memory, cores())
    set_here = conf["os"].environ

    assert conf["workers"] == workers
    assert limits_of_worker(memory, workers, cores()).items() <= set_here.items()


def test_a_larger_input_leaves_less_for_a_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The packed model that lies in an exported bento says how much memory its network takes."""
    monkeypatch.setattr("antbee.machine.memory_limit", lambda: 512 << 20)
    (tmp_path / "src").mkdir()
    model = tmp_path / "models/ant/1"
    model.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src")
    largest = {}
    for text in ('{"preprocessing": {"crop": 224}}', '{"preprocessing": {"crop": 448}}', "{"):
        (model / "model.json").write_text(text)
        given: dict[str, str] = {"WEB_CONCURRENCY": "1"}
        monkeypatch.setattr("os.environ", given)
        runpy.run_path(str(CONF))
        largest[text[-6:]] = int(given["ANTBEE_MAX_MEGAPIXELS"])

    assert largest[" 224}}"] == largest["{"] > largest[" 448}}"] > 12


def test_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has set is left alone."""
    given = {"WEB_CONCURRENCY": "3", "ANTBEE_TIMEOUT": "7", "PORT": "1234"}
    monkeypatch.setattr("os.environ", given)
    conf = runpy.run_path(str(CONF))

    assert conf["workers"] == 3
    assert given["ANTBEE_TIMEOUT"] == "7"
    assert all(address.endswith(":1234") for address in conf["bind"])


@pytest.mark.parametrize(
    ("variables", "client"),
    [
        ({"FORWARDED_ALLOW_IPS": "*"}, "203.0.113.7"),  # as Heroku's buildpack sets it
        ({}, "203.0.113.7"),
        ({"FORWARDED_ALLOW_IPS": "10.9.9.9"}, "10.1.1.1"),  # as somebody wants it
    ],
)
def test_on_a_dyno_only_the_router_is_believed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], client: str
) -> None:
    """What a client writes into X-Forwarded-For itself is not taken for its address."""
    given = {"DYNO": "web.1", **variables}
    monkeypatch.setattr("os.environ", given)
    conf = runpy.run_path(str(CONF))
    seen = []

    async def application(scope: Any, *_: Any) -> None:  # noqa: ANN401 - ASGI's
        seen.append(scope["client"][0])

    trusted = conf["forwarded_allow_ips"]
    behind = ProxyHeadersMiddleware(application, trusted_hosts=trusted)
    headers = [(b"x-forwarded-for", b"198.51.100.1, 203.0.113.7")]
    scope: Any = {"type": "http", "client": ("10.1.1.1", 1), "headers": headers}
    asyncio.run(behind(scope, None, None))  # type: ignore[arg-type]  # it is only passed on

    assert seen == [client]
    assert given["FORWARDED_ALLOW_IPS"] == trusted


def test_no_more_workers_than_the_memory_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks for more, by variable or by gunicorn's option, gets what fits, and is told."""
    given = {"WEB_CONCURRENCY": "4", "PROMETHEUS_MULTIPROC_DIR": "there"}
    monkeypatch.setattr("os.environ", given)
    monkeypatch.setattr("antbee.machine.memory_limit", lambda: 512 << 20)
    conf = runpy.run_path(str(CONF))
    arbiter = SimpleNamespace(num_workers=3)
    conf["when_ready"](arbiter)

    assert (conf["workers"], given["WEB_CONCURRENCY"], arbiter.num_workers) == (1, "1", 1)
    assert capsys.readouterr().err.splitlines() == [
        "512 MB of memory: 1 of 4 workers fit", "512 MB of memory: 1 of 3 workers fit",
    ]  # fmt: skip


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


@pytest.mark.parametrize(
    ("name", "value"), [("WEB_CONCURRENCY", "auto"), ("PORT", "http"), ("PORT", "65536")]
)
def test_bad_number_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A number of workers, or of a port, that is none stops the start with its name and value."""
    monkeypatch.setattr("os.environ", {name: value})

    with pytest.raises(SystemExit, match=f"{name}='{value}'"):
        runpy.run_path(str(CONF))


def test_metrics_folder_is_for_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker needs none, several have one of their own, and one that somebody set stays."""
    monkeypatch.setattr("antbee.machine.memory_limit", lambda: 4096 << 20)
    made = {}
    for workers, given in (
        ("1", None),
        ("2", None),
        ("2", "/somebody's"),
        ("2", "/x/antbee-metrics-y"),
    ):
        variables = {"WEB_CONCURRENCY": workers} | ({DIRECTORY: given} if given else {})
        monkeypatch.setattr("os.environ", variables)
        conf = runpy.run_path(str(CONF))
        conf["when_ready"](SimpleNamespace(num_workers=int(workers)))
        made[workers, given] = variables.get(DIRECTORY)
        existed = Path(made[workers, given] or "").is_dir()
        conf["on_exit"](None)

        assert existed is (workers == "2" and given != "/somebody's") or not made[workers, given]
        assert not made[workers, given] or not Path(str(made[workers, given])).exists()
    assert made["1", None] is None
    assert made["2", "/somebody's"] == "/somebody's"
    assert made["2", "/x/antbee-metrics-y"] not in (None, "/x/antbee-metrics-y")
