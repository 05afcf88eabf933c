"""Stopping, dying and retiring, under load."""

import asyncio
import time
from collections import Counter
from threading import Thread

from tests.heroku.container.client import LOST, Connection, Tally, for_seconds, load
from tests.heroku.container.conftest import FIGURES, Scale
from tests.heroku.container.dyno import Dyno, run_dyno

CLIENTS = 16


class Load:
    """Sixteen clients that post beside the test."""

    def __init__(self, dyno: Dyno, pictures: list[bytes], seconds: float = 60) -> None:
        self.tally = Tally()
        self._stopped = False
        running = for_seconds(seconds)

        def post() -> None:
            self.tally = asyncio.run(
                load(dyno.port, pictures, lambda: running() and not self._stopped, CLIENTS)
            )

        self._thread = Thread(target=post)
        self._thread.start()

    def end(self) -> Tally:
        """Stop posting and return what became of the requests."""
        self._stopped = True
        self._thread.join()
        return self.tally

    def wait(self) -> Tally:
        """Wait until nobody can connect any more."""
        self._thread.join()
        return self.tally


def test_sigterm_loses_no_request(image: str, pictures: list[bytes], scale: Scale) -> None:
    """Every process gets SIGTERM under load: each accepted request is answered, then all end."""
    total, exits = Counter[int | str](), []
    for _ in range(scale.rounds):
        with run_dyno(image) as dyno:
            clients = Load(dyno, pictures)
            time.sleep(1)
            dyno.signal_all("TERM")
            exits.append(dyno.wait_for_exit())
            total += clients.wait().outcomes
            assert dyno.state()["ExitCode"] == 0
    FIGURES["rounds of SIGTERM to every process"] = scale.rounds
    FIGURES["requests lost in them"] = total[LOST]
    FIGURES["requests answered in them"] = total[200]
    FIGURES["seconds to the exit, at most"] = round(max(exits), 1)

    assert total[LOST] == 0
    assert set(total) <= {200, "refused"}
    assert max(exits) < 25


def test_sigterm_with_idle_connections(image: str, pictures: list[bytes]) -> None:
    """Idle connections do not hold up the end; one used in the last seconds is still answered."""

    async def stop(dyno: Dyno) -> tuple[list[int | str], float]:
        connections = [Connection(dyno.port) for _ in range(50)]
        answers = [await connection.post(pictures[0]) for connection in connections]
        began = time.monotonic()
        await asyncio.to_thread(dyno.signal_all, "TERM")
        await asyncio.sleep(1.5)
        answers += [await connections[0].post(pictures[0])]
        await asyncio.to_thread(dyno.wait_for_exit)
        seconds = time.monotonic() - began
        for connection in connections:
            await connection.close()
        return answers, seconds

    with run_dyno(image) as dyno:
        answers, seconds = asyncio.run(stop(dyno))
    FIGURES["seconds to the exit with 50 idle connections"] = round(seconds, 1)

    assert answers == [200] * 51
    assert seconds < 25


def test_killed_worker_is_replaced(image: str, pictures: list[bytes], scale: Scale) -> None:
    """A killed worker takes only what it was answering with it, and is replaced within 3 s."""
    lost, gaps = [], []
    with run_dyno(image) as dyno:
        for _ in range(scale.rounds):
            clients = Load(dyno, pictures)
            time.sleep(1)
            before = dyno.workers()
            killed = time.monotonic()
            dyno.shell(f"kill -KILL {before[0]}")
            dead = time.monotonic()
            time.sleep(3.5)
            tally = clients.end()
            back = [at for at in tally.answered_at if at > dead + 0.05]
            gaps.append(min(back, default=killed + 60) - killed)
            lost.append(tally.outcomes[LOST])
    FIGURES["rounds of kill -9 of a worker"] = scale.rounds
    FIGURES["requests lost in a round, at most"] = max(lost)
    FIGURES["seconds to the next 200, at most"] = round(max(gaps), 2)

    assert max(lost) <= CLIENTS
    assert max(gaps) <= 3


def test_retiring_worker_drops_nothing(image: str, pictures: list[bytes]) -> None:
    """Workers that are replaced after so many requests drop none."""
    with run_dyno(image, GUNICORN_CMD_ARGS="--max-requests 200") as dyno:
        first = dyno.workers()
        tally = asyncio.run(load(dyno.port, pictures, for_seconds(15), CLIENTS, frozenset()))
        last = dyno.workers()
    FIGURES["requests answered while workers retire"] = tally.outcomes[200]

    assert set(tally.outcomes) == {200}
    assert first != last
