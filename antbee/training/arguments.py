"""The arguments of `train.py`: names, defaults and ranges. Loads nothing but argparse."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ARCHITECTURES: Final = ("resnet18", "resnet34", "resnet50")
DEFAULTS: Final[dict[str, Any]] = {
    "data": "data",
    "arch": "resnet18",
    "weights": "imagenet",
    "epochs": 25,
    "batch_size": 16,
    "lr": 0.01,
    "seed": 0,
    "device": "auto",
}
FIXED: Final = ("arch", "weights", "epochs", "batch_size", "lr", "seed")
"""What a run keeps from its beginning to its end."""
MOST: Final = 2**63 - 1
"""Of a whole number that torch can take."""
OUT: Final = Path("saved_models")


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line. What was not given is None, so that -c can tell."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Fine-tune a ResNet on DATA/train/<label>/*, measure it on DATA/val/<label>/*, "
        "and keep the best epoch. Prints the path of its checkpoint.",
        epilog="On the CPU a run is repeatable bit for bit with the same seed, thread count and "
        "versions, interrupted or not. On a GPU the order and augmentation of the pictures are, "
        "but sums are added in an order that varies, so that the last digits differ.",
    )
    add = parser.add_argument
    add("--data", help=f"folder of the pictures ({DEFAULTS['data']})")
    add("--arch", choices=ARCHITECTURES, help=f"the network ({DEFAULTS['arch']})")
    add(
        "--weights",
        metavar="imagenet|none|FILE",
        help="what to start from: torchvision's ImageNet weights, random ones, or a whole or "
        f"partial state dict or a checkpoint ({DEFAULTS['weights']})",
    )
    add("--epochs", type=_whole(1), metavar="N", help=f"1 or more ({DEFAULTS['epochs']})")
    add(
        "--batch-size",
        type=_whole(2),
        metavar="N",
        help="pictures a step, 2 or more, because batch normalisation measures across the batch "
        f"({DEFAULTS['batch_size']})",
    )
    add("--lr", type=_rate, metavar="X", help=f"highest learning rate ({DEFAULTS['lr']})")
    add("--seed", type=_whole(0), metavar="N", help=f"0 or more ({DEFAULTS['seed']})")
    add("--device", help="auto, cpu, cuda, cuda:1, mps, ...; auto takes a GPU if there is one")
    add("--out", type=Path, help=f"folder of all runs ({OUT})")
    add(
        "--bento",
        choices=("ask", "yes", "no"),
        default="ask",
        help="save to a bento in the end; ask does so on a terminal only (ask)",
    )
    add(
        "-c",
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="go on from a last.pt or best.pt, in its folder and with its arguments; "
        "only --data, --device and --bento may differ",
    )
    return parser


def settle(
    parser: argparse.ArgumentParser, options: argparse.Namespace, saved: dict[str, Any] | None
) -> dict[str, Any]:
    """Arguments of a run: those given, and of the others the saved ones or the defaults.

    Args:
        parser: exits with code 2 if an option contradicts what a run keeps.
        options: of this command line.
        saved: the arguments in the checkpoint that the run goes on from; None for a new run.
    """
    given = {
        name: getattr(options, name) for name in DEFAULTS if getattr(options, name) is not None
    }
    if saved is None:
        return DEFAULTS | given
    for name in FIXED:
        if name in given and given[name] != saved[name]:
            _refuse(parser, name, f"the run was begun with {saved[name]}")
    if options.out and options.out.resolve() != options.checkpoint.resolve().parent.parent:
        _refuse(parser, "out", "the run goes on in the checkpoint's own folder")
    return saved | given


def _refuse(parser: argparse.ArgumentParser, name: str, reason: str) -> None:
    option = "--" + name.replace("_", "-")
    parser.error(f"{option} contradicts -c: {reason}; leave {option} out, or leave -c out")


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= MOST:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return number

    parse.__name__ = "whole number"  # argparse names it where int() fails
    return parse


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


_rate.__name__ = "number"  # argparse names it where float() fails
