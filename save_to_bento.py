"""Pack a checkpoint and build a bento: `python save_to_bento.py [CHECKPOINT]`.

The bento's tag is the last line on stdout; everything else goes to stderr.
"""

from antbee.command import DONE, answer, end_on_signals, run, say

if __name__ == "__main__":
    end_on_signals()

import argparse
from collections.abc import Sequence
from pathlib import Path

from antbee.errors import DataError
from antbee.files import is_folder
from antbee.images import configure_pillow
from antbee.predictor import RUNTIMES, disable_telemetry

SAVED_MODELS = Path("saved_models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="save_to_bento.py", description=__doc__)
    add = parser.add_argument
    add("checkpoint", nargs="?", type=Path, help="default: best.pt of the newest run")
    add(
        "--data",
        type=Path,
        help="pictures: train calibrates int8, val judges it (default: those of the run)",
    )
    add(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="what it is served with; auto: the fastest that answers as PyTorch does",
    )
    add("--name", default="ant_bee_classifier", help="of the model and of the bento")
    arguments = parser.parse_args(argv)
    configure_pillow()
    disable_telemetry()
    return run(lambda: save(arguments))


def save(arguments: argparse.Namespace) -> int:
    """Pack, build, and say how to go on."""
    # Loading torch and BentoML takes seconds, which --help need not wait for.
    from antbee.packing.pack import save_bento  # noqa: PLC0415
    from antbee.training.folder import newest_checkpoint  # noqa: PLC0415

    checkpoint = arguments.checkpoint or newest_checkpoint(SAVED_MODELS)
    if arguments.data and not is_folder(arguments.data):
        raise DataError(f"there is no folder {arguments.data}: --data names the pictures")
    say(f"packing {checkpoint}")
    source = Path(__file__).resolve().parent
    tag = save_bento(checkpoint, arguments.data, arguments.runtime, arguments.name, source)
    say(f"serve it: bentoml serve {tag}")
    answer(tag)
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
