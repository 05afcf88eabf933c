"""The processes of `bentoml serve`: their metrics, their signals, no worker without its parent.

BentoML keeps the metrics of all servers in one folder of `BENTOML_HOME`, and empties it whenever
another starts. Its workers do not notice when their parent is killed, and hold the port. Their
parent is run by circus, which drops a signal that comes while it is busy.
"""

import atexit
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.context import server_context

from antbee.errors import SettingsError
from antbee.machine import METRICS_FOLDER, memory_folder

if TYPE_CHECKING:
    from circus.sighandler import SysHandler

PARENT: Final = "BENTOML_SERVE_PID"
"""The variable in which the parent tells its workers who it is."""
INTERVAL: Final = 0.2
"""Seconds between two looks at the parent."""
GRACE: Final = 0.8
"""Seconds that a worker without one has to end what it is doing."""
AGAIN: Final = 0.05
"""Seconds after which circus is told again to stop, where it was busy."""


def keep_metrics_apart() -> None:
    """Let BentoML keep the metrics of a server that this process starts where no other's are.

    BentoML imports a bento's service twice, and has made the folder in between.
    """
    if not Path(BentoMLContainer.prometheus_multiproc_dir.get()).name.startswith(METRICS_FOLDER):
        folder = f"{memory_folder()}/{METRICS_FOLDER}{uuid.uuid4().hex}"
        BentoMLContainer.prometheus_multiproc_dir.set(folder)
        # Workers are told this name, and do not get here. A start may fail before there are any.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def prepare_parent() -> None:
    """Before its workers start: look whether the port is free, and tell them who their parent is.

    From here on, no signal to stop is dropped.

    Raises:
        SettingsError: the address cannot be had.
    """
    command = click.get_current_context(silent=True)
    if command is not None and "port" in command.params:  # not for a program's `bentoml.serve`
        host = command.params["host"] or BentoMLContainer.http.host.get()
        check_address(host, command.params["port"] or BentoMLContainer.http.port.get())
    os.environ[PARENT] = str(os.getpid())
    hear_signals()


def check_address(host: str, port: int) -> None:
    """Look whether a server could listen there; BentoML answers with fifty lines if not.

    Raises:
        SettingsError: it could not.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            advice = "stop what listens there, or choose another with --port"
            raise SettingsError(f"cannot listen on {host}:{port} ({error}): {advice}") from error


def hear_signals() -> None:
    """Let circus stop at a signal, whatever it is doing when that comes.

    It refuses a command during another one, such as the start of its workers or the look at them
    every ten seconds, and where the command was a signal's, nobody learns of that. So it is given
    again until circus stops. A circus of which that cannot be told is left alone.
    """
    try:
        from circus.sighandler import SysHandler  # noqa: PLC0415 - with ZeroMQ: the parent's alone

        quit_once = SysHandler.quit
    except (ImportError, AttributeError):
        return
    if quit_once.__module__ == __name__:  # a program's second `bentoml.serve`
        return

    def quit_(handler: "SysHandler") -> None:
        quit_once(handler)
        loop, arbiter = handler.controller.loop, handler.controller.arbiter

        def look() -> None:
            if not getattr(arbiter, "_stopping", True):
                loop.call_later(AGAIN, quit_, handler)

        loop.add_callback(look)  # whose turn comes after that of what `quit_once` has added

    SysHandler.quit = quit_


def end_with_parent() -> None:
    """In a worker of `bentoml serve`: end soon after its parent, however that ended."""
    if server_context.service_type is not None:  # as BentoML says in its workers alone
        parent = int(os.environ.get(PARENT, os.getppid()))
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
