"""Fine-tune a ResNet on a folder of pictures, and go on where a run was interrupted.

The last line on stdout is the path of the run's best checkpoint; everything else is on stderr.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from antbee.command import DONE, INTERRUPTED, run, say
from antbee.errors import ModelError
from antbee.training.arguments import OUT, make_parser, settle
from antbee.training.interrupt import Stop, catch_signals

if TYPE_CHECKING:
    from antbee.training.run import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    parser = make_parser()
    options = parser.parse_args(argv)
    with catch_signals() as stop:
        return run(lambda: train(parser, options, stop))


def train(parser: argparse.ArgumentParser, options: argparse.Namespace, stop: Stop) -> int:
    """Train to the end, say where the best checkpoint is, and offer to pack it."""
    going, data = prepare(parser, options)
    with stop.deferred():
        say(f"training on {going.device} in {going.folder}")
        going.train(stop)
    print(going.best_file, flush=True)
    stop.check()
    if wants_bento(options.bento):
        pack(going.best_file, data)
    return DONE


def prepare(parser: argparse.ArgumentParser, options: argparse.Namespace) -> "tuple[Run, str]":
    """Begin a run, or go on with one; return it and the folder of its pictures."""
    # Threads that spin while they wait would take the cores from those that decode.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Loading torch takes seconds: --help need not wait, and Ctrl-C meanwhile leaves no traceback.
    from antbee.training.checkpoint import load_checkpoint  # noqa: PLC0415
    from antbee.training.data import check_pictures  # noqa: PLC0415
    from antbee.training.device import choose_device  # noqa: PLC0415
    from antbee.training.run import begin_run, resume_run  # noqa: PLC0415

    checkpoint = load_checkpoint(options.checkpoint) if options.checkpoint else None
    arguments = settle(parser, options, checkpoint.arguments if checkpoint else None)
    device = choose_device(arguments["device"])
    pictures = check_pictures(Path(arguments["data"]))
    if checkpoint is None:
        going = begin_run(options.out or OUT, arguments, pictures, device)
    else:
        going = resume_run(options.checkpoint, checkpoint, arguments, pictures, device)
    return going, arguments["data"]


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
            f"packing failed; the checkpoint is safe: python save_to_bento.py {checkpoint}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
