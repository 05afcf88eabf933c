"""The arguments of `train.py`: names, defaults and ranges. Loads nothing but argparse."""

import argparse
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ARCHITECTURES: Final = ("resnet18", "resnet34", "resnet50")
SIZES: Final = range(96, 449, 32)
"""Of the network's input, in pixels. A ResNet's stages halve it five times: of any other number,
the last row and column of a heat map would stand for less than the rest."""
STAGES: Final = ("none", "stem", "layer1", "layer2", "layer3", "layer4")
"""Of a ResNet, in the order of computation; the stem is its first convolution."""
DEFAULTS: Final[dict[str, Any]] = {
    "data": "data",
    "val_fraction": None,
    "arch": "resnet18",
    "weights": "imagenet",
    "freeze": "auto",
    "size": 224,
    "balance": False,
    "epochs": None,
    "batch_size": 16,
    "lr": None,
    "patience": None,
    "seed": 0,
    "device": "auto",
}
SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"epochs": 10, "lr": 0.02},
    "whole": {"epochs": 25, "lr": 0.01},
}
"""What is not given, where a part of the network is frozen and where none is. The first was chosen
by cross-validation on the tutorial's training pictures: `benchmarks/training.py --try`."""
FIXED: Final = tuple(name for name in DEFAULTS if name not in {"data", "device"})
"""What a run keeps from its beginning to its end."""
LONGER: Final = ("weights", "epochs", "lr", "device")
"""What another run may have otherwise that trains a finished one longer. With the other pictures to
validate on of another `seed`, it would be validated on what it was trained on."""
MOST: Final = 2**63 - 1
"""Of a whole number that torch can take."""
OUT: Final = Path("saved_models")


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line. What was not given is None, so that -c can tell."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Fine-tune a ResNet on DATA/train/<label>/*, measure it on DATA/val/<label>/*, "
        "and keep the best epoch. Prints the path of its checkpoint.",
        epilog="On the CPU a run is repeatable bit for bit, interrupted or not, with the same "
        "seed, threads and versions, the same kind of processor, and memory enough to keep as many "
        "views of the pictures. On a GPU their order and augmentation are, but sums are added in "
        "an order that varies, so that the last digits differ. Under torchrun each process takes "
        "its part of every batch and all step by the mean of their gradients; batch normalisation "
        "measures across the processes on GPUs, and each process's own part on CPUs, where the "
        "numbers therefore differ a little from those of one process.",
    )
    add = parser.add_argument
    add("--data", help=f"folder of the pictures ({DEFAULTS['data']})")
    add(
        "--val-fraction",
        type=_number(float, "between 0 and 1", lambda number: 0 < number < 1),
        metavar="X",
        help="where DATA has no val: validate on this share of each label of DATA/train/<label>/* "
        "or DATA/<label>/*, between 0 and 1, chosen by --seed (none)",
    )
    add("--arch", choices=ARCHITECTURES, help=f"the network ({DEFAULTS['arch']})")
    add(
        "--weights",
        metavar="imagenet|none|FILE",
        help="what to start from: torchvision's ImageNet weights, random ones, or a whole or "
        f"partial state dict or a checkpoint ({DEFAULTS['weights']})",
    )
    add(
        "--freeze",
        choices=("auto", *STAGES),
        help="the last stage that stays as it is; what comes after it is trained. auto is layer3, "
        "or as far as the starting weights reach, and none from random weights "
        f"({DEFAULTS['freeze']})",
    )
    add(
        "--size",
        type=_number(
            int,
            f"from {SIZES[0]} to {SIZES[-1]} that {SIZES.step} divides",
            lambda number: number in SIZES,
        ),
        metavar="N",
        help="width and height in pixels of what the network sees, in training and when served: "
        f"{SIZES[0]} to {SIZES[-1]} in steps of {SIZES.step} ({DEFAULTS['size']})",
    )
    add(
        "--balance",
        action=argparse.BooleanOptionalAction,
        help="weigh each label alike, however few pictures it has, and take the best epoch by the "
        "mean of the labels' recalls; a large label is then answered less often (--no-balance)",
    )
    frozen, whole = SCHEDULES["frozen"], SCHEDULES["whole"]
    add(
        "--epochs",
        type=_whole(1),
        metavar="N",
        help=f"1 or more ({frozen['epochs']}, or {whole['epochs']} if nothing is frozen)",
    )
    add(
        "--batch-size",
        type=_whole(2),
        metavar="N",
        help="pictures a step, 2 or more, because batch normalisation measures across the batch "
        f"({DEFAULTS['batch_size']})",
    )
    add(
        "--lr",
        type=_number(float, "above 0", lambda number: 0 < number < math.inf),
        metavar="X",
        help=f"highest learning rate ({frozen['lr']}, or {whole['lr']} if nothing is frozen)",
    )
    add(
        "--patience",
        type=_whole(1),
        metavar="N",
        help="stop when the best epoch is N epochs ago (never)",
    )
    add("--seed", type=_whole(0), metavar="N", help=f"0 or more ({DEFAULTS['seed']})")
    add("--device", help="auto, cpu, cuda, cuda:1, mps, ...; auto takes a GPU if there is one")
    add("--out", type=Path, help=f"folder of all runs ({OUT})")
    add("--tensorboard", action="store_true", help="write the curves to the run's folder, too")
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
        "only --data, --device, --tensorboard and --bento may differ",
    )
    add(
        "--check",
        action="store_true",
        help="print what there is to train on, and what is wrong with it, and train nothing",
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
    if given.get("freeze") == "auto":  # which the beginning of the run has settled
        del given["freeze"]
    for name in FIXED:
        if name in given and given[name] != saved[name]:
            option, begun = _option(name), saved[name]
            if name == "balance" and begun:
                option, begun = "--no-balance", option
            elif name == "balance":
                begun = "--no-balance"
            longer = ""
            if name == "epochs" and options.checkpoint:
                best = shlex.quote(str(options.checkpoint.with_name("best.pt")))
                longer = f". To train longer: --weights {best} --epochs {given[name]}"
                for same in DEFAULTS:
                    if same not in LONGER and saved[same] != DEFAULTS[same]:
                        value = "" if same == "balance" else f" {shlex.quote(str(saved[same]))}"
                        longer += f" {_option(same)}{value}"
                longer += ", without -c"
            _refuse(parser, option, f"the run was begun with {begun}", longer)
    own = options.checkpoint and options.checkpoint.resolve().parent.parent
    if own and options.out and options.out.resolve() != own:
        _refuse(parser, "--out", "the run goes on in the checkpoint's own folder")
    return saved | given


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse(parser: argparse.ArgumentParser, option: str, reason: str, more: str = "") -> None:
    parser.error(f"{option} contradicts -c: {reason}; leave {option} out, or leave -c out{more}")


def _whole(least: int) -> Callable[[str], float]:
    return _number(int, f"from {least} on", lambda number: least <= number <= MOST)


def _number(
    kind: Callable[[str], float], where: str, fits: Callable[[float], bool]
) -> Callable[[str], float]:
    name = "whole number" if kind is int else "number"

    def parse(text: str) -> float:
        number = kind(text)
        if not fits(number):
            raise argparse.ArgumentTypeError(f"{text} is not a {name} {where}")
        return number

    parse.__name__ = name  # argparse names it where the text is no number at all
    return parse
