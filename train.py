"""Fine-tune a ResNet on a folder of pictures, and go on where a run was interrupted.

The last line on stdout is the path of the run's best checkpoint; everything else is on stderr.
"""

from antbee.command import DONE, INTERRUPTED, end_on_signals, run, say

if __name__ == "__main__":
    end_on_signals()

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from antbee.errors import ModelError
from antbee.machine import keep_memory
from antbee.training.arguments import OUT, make_parser, settle
from antbee.training.terminal import Stop

if TYPE_CHECKING:
    from antbee.training.run import Run
    from antbee.training.team import Team


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.check:
        return run(lambda: check(parser, options))
    stop = Stop()
    return run(lambda: train(parser, options, stop), stop)


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Print what there is to train on; neither torch nor a folder for a run is needed for that."""
    from antbee.images import configure_pillow  # noqa: PLC0415
    from antbee.training.data import check_pictures  # noqa: PLC0415
    from antbee.training.survey import make_table  # noqa: PLC0415

    configure_pillow()
    if options.checkpoint:
        parser.error("--check is of a new run: leave --check out, or leave -c out")
    arguments = settle(parser, options, None)
    folder = Path(arguments["data"])
    print(make_table(check_pictures(folder, arguments["val_fraction"], arguments["seed"])))
    return DONE


def train(parser: argparse.ArgumentParser, options: argparse.Namespace, stop: Stop) -> int:
    """Train to the end, say where the best checkpoint is, and offer to pack it."""
    # Threads that spin while they wait would take the cores from those that decode.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    # Loading torch takes seconds: --help need not wait, and Ctrl-C meanwhile leaves no traceback.
    from antbee.images import configure_pillow  # noqa: PLC0415
    from antbee.training.report import try_report  # noqa: PLC0415
    from antbee.training.team import gathered  # noqa: PLC0415
    from antbee.training.tensorboard import load_writer  # noqa: PLC0415

    configure_pillow()
    if options.tensorboard:
        load_writer()  # while nothing has begun that would have to be thrown away
    with gathered() as team, heard(team.leads):
        going, data = prepare(parser, options, team)
        with stop.deferred():
            say(going.summary)
            say(f"training on {going.device} in {going.folder}")
            going.train(stop, tensorboard=options.tensorboard)
    if team.leads:
        print(going.best_file, flush=True)
        stop.check()
        try_report(going.folder, going.pictures, going.device)
        if wants_bento(options.bento):
            pack(going.best_file, data)
    return DONE


def prepare(
    parser: argparse.ArgumentParser, options: argparse.Namespace, team: "Team"
) -> "tuple[Run, str]":
    """Begin a run, or go on with one; return it and the folder of its pictures."""
    from antbee.training.data import check_pictures  # noqa: PLC0415
    from antbee.training.device import choose_device  # noqa: PLC0415
    from antbee.training.folder import started_again  # noqa: PLC0415
    from antbee.training.start import begin_run, find_saved, resume_run  # noqa: PLC0415
    from antbee.training.survey import say_warnings  # noqa: PLC0415

    out = options.out or OUT
    saved = find_saved(options.checkpoint or started_again(out), team)
    arguments = settle(parser, options, saved[1].arguments if saved else None)
    device = choose_device(arguments["device"])
    folder = Path(arguments["data"])
    pictures = check_pictures(folder, arguments["val_fraction"], arguments["seed"])
    say_warnings(pictures)
    if saved is None:
        return begin_run(out, arguments, pictures, device, team), arguments["data"]
    path, checkpoint = saved[0], replace(saved[1], arguments=arguments)
    return resume_run(path, checkpoint, pictures, device, team), arguments["data"]


@contextmanager
def heard(leads: bool) -> Iterator[None]:
    """Within this context, nothing is said by a process that others already speak for."""
    with ExitStack() as stack:
        if not leads:
            silence = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stderr(silence))
        yield


def wants_bento(choice: str) -> bool:
    """Decide whether to pack; `ask` asks on a terminal, and elsewhere means no."""
    if choice != "ask":
        return choice == "yes"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print("Save it to a bento? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def pack(checkpoint: Path, data: str) -> None:
    """Let save_to_bento.py, which needs what training does not, do its work.

    Raises:
        ModelError: it failed, having said why.
    """
    script = Path(__file__).with_name("save_to_bento.py")
    command = [sys.executable, str(script), str(checkpoint), "--data", data]
    code = subprocess.run(command, stdout=sys.stderr, check=False).returncode  # noqa: S603 - ours
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != DONE:
        raise ModelError(
            "packing failed; the checkpoint is safe: "
            f"python save_to_bento.py {shlex.quote(str(checkpoint))}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
