"""Fine-tune a ResNet on a folder of pictures, and go on where a run was interrupted.

The last line on stdout is the path of the run's best checkpoint; everything else is on stderr.
"""

from antbee.command import DONE, INTERRUPTED, answer, end_on_signals, run, say

if __name__ == "__main__":
    end_on_signals()

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from pathlib import Path

from antbee.errors import ModelError
from antbee.machine import keep_memory
from antbee.training.arguments import OUT, make_parser, settle
from antbee.training.terminal import Stop


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
    from antbee.training.check import check_pictures, describe_pictures  # noqa: PLC0415

    if options.checkpoint:
        parser.error("--check is of a new run: leave --check out, or leave -c out")
    configure_pillow()
    arguments = settle(parser, options, None)
    folder = Path(arguments["data"])
    pictures = check_pictures(folder, arguments["val_fraction"], arguments["seed"])
    answer(describe_pictures(pictures, balance=arguments["balance"]))
    return DONE


def train(parser: argparse.ArgumentParser, options: argparse.Namespace, stop: Stop) -> int:
    """Train to the end, say where the best checkpoint is, and offer to pack it."""
    # Threads that spin while they wait would take the cores from those that decode.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    # Loading torch takes seconds: --help need not wait, and Ctrl-C meanwhile leaves no traceback.
    from antbee.images import configure_pillow  # noqa: PLC0415
    from antbee.training.check import check_pictures, list_warnings  # noqa: PLC0415
    from antbee.training.checkpoint import from_state, load_checkpoint, to_state  # noqa: PLC0415
    from antbee.training.device import choose_device  # noqa: PLC0415
    from antbee.training.distributed import joined_process_group  # noqa: PLC0415
    from antbee.training.folder import BEST, restarted_run  # noqa: PLC0415
    from antbee.training.report.held_out import try_test  # noqa: PLC0415
    from antbee.training.report.write import try_report  # noqa: PLC0415
    from antbee.training.run import begin_run, resume_run  # noqa: PLC0415
    from antbee.training.tensorboard import load_writer  # noqa: PLC0415

    configure_pillow()
    if options.tensorboard:
        load_writer()  # while nothing has begun that would have to be thrown away
    with joined_process_group() as group, ExitStack() as stack:
        if not group.is_main:  # others need not say what the main process says
            silence = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stderr(silence))

        # The checkpoint to go on from is the main process's; other machines may not have it.
        out = options.out or OUT
        path = options.checkpoint or restarted_run(out)
        saved = None
        if path and group.is_main:
            saved = (str(path), to_state(load_checkpoint(path)))
        saved = group.broadcast_object(saved)
        checkpoint = from_state(saved[1]) if saved else None
        arguments = settle(parser, options, checkpoint.arguments if checkpoint else None)

        device = choose_device(arguments["device"])
        data = Path(arguments["data"])
        pictures = check_pictures(data, arguments["val_fraction"], arguments["seed"])
        for line in list_warnings(pictures, balance=arguments["balance"]):
            say(line)
        if saved and checkpoint:
            checkpoint = replace(checkpoint, arguments=arguments)
            going = resume_run(Path(saved[0]), checkpoint, pictures, device, group)
        else:
            going = begin_run(out, arguments, pictures, device, group)

        with stop.deferred():
            say(going.summary)
            say(f"training on {device} in {going.folder}")
            going.train(stop, tensorboard=options.tensorboard)
    if group.is_main:
        best = going.folder / BEST
        answer(best)
        stop.check()
        try_test(going.folder, pictures, device)
        try_report(going.folder, pictures, device, going.pooled)
        if wants_bento(options.bento):
            pack(best, arguments["data"])
    return DONE


def wants_bento(choice: str) -> bool:
    """Decide whether to pack; `ask` asks on a terminal, and elsewhere means no."""
    if choice != "ask":
        return choice == "yes"
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):  # it may be closed
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
    # Ctrl-C reaches it through here alone, and once: a second signal would end it before it has
    # tidied up, and so would `subprocess.run`.
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdout=sys.stderr, start_new_session=True
    ) as packing:
        try:
            code = packing.wait()
        except KeyboardInterrupt:
            packing.terminate()
            packing.wait()
            raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != DONE:
        raise ModelError(
            "packing failed; the checkpoint is safe: "
            f"python save_to_bento.py {shlex.quote(str(checkpoint))}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
