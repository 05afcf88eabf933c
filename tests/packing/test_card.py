"""A packed model's card."""

from dataclasses import replace

from antbee.accuracy import HeldOut, Proportion
from antbee.artifact import PackedModel
from antbee.calibration import Calibration
from antbee.packing.card import write_card


def test_card_tells_what_was_measured() -> None:
    """Labels, pictures, accuracy with its interval and calibration are those of `model.json`."""
    model = PackedModel(
        "resnet18",
        ("ant", "b|e\x1be"),
        "int8",
        ("int8", "onnx"),
        metrics={"val_top1": 0.5},
        calibration=Calibration(1.2, 6, 0.1, 0.05, 0.06),
        gate={"change": "val/a|nt (1 pictures then, 2 now)",
              "rows": [{"runtime": "onnx", "correct": 6, "pictures": 6},
                       {"runtime": "int8", "correct": 5, "pictures": 6}]},
        provenance={
            "data": {"pictures": {"train": {"ant": 3}, "val": {"ant": 1, "b|e\x1be": 2}},
                     "source": "https://pictures.example", "sha256": "5ab"},
            "arguments": {"weights": "imagenet", "balance": True},
        },
    )  # fmt: skip
    card = write_card(model, "insects:v1")

    assert card.startswith("# insects:v1\n")
    assert "Says which of these a picture shows: ant, b\\|e\\x1be." in card
    assert (
        "| label | train | val |\n|---|---:|---:|\n| ant | 3 | 1 |\n| b\\|e\\x1be | 0 | 2 |\n"
        in card
    )
    assert "from https://pictures.example, SHA-256 of all of them `5ab`" in card
    assert "5 of 6 validation pictures are recognised, 83.3 %" in card
    assert "between 43.6 % and 97.0 %" in card
    assert "That is optimistic: the epoch was" in card
    assert "no longer those of the run: val/a\\|nt (1 pictures then, 2 now).\n" in card
    assert "| val_top1 | 0.5 |" in card
    assert "Temperature 1.200: expected calibration error 10.0% before" in card
    assert "with its labels weighed alike" in card
    assert "To be filled in" in card


def test_card_tells_test_from_validation() -> None:
    """What nothing was chosen by comes first, by label, and says how it was answered."""
    labels = {"a|nt": Proportion(9, 10), "bee": Proportion(0, 0)}
    test = HeldOut("int8", "c0de", "5ab", 2, labels)
    model = PackedModel("resnet18", tuple(labels), "int8", metrics={"test": test.describe()})
    card = write_card(model, "x:1")

    assert "9 of 10 test pictures are recognised, 90.0 %" in card
    assert "answered as they are served, with int8" in card
    assert "among them, 2 in all, so that it is flattering" in card
    assert "| a\\|nt | 9 of 10 |\n| bee | 0 of 0 |\n" in card
    by_training = replace(test, measured="training", copies=None).describe()
    card = write_card(replace(model, metrics={"test": by_training}), "x:1")
    assert "Training measured this" in card
    assert "flattering" not in card


def test_card_says_what_is_not_known() -> None:
    """A model that was packed without pictures says so, and claims nothing."""
    card = write_card(PackedModel("resnet18", ("a", "b"), "onnx"), "x:1")

    assert "no longer those of the run" not in card
    assert "Not measured: there were no validation pictures" in card
    assert "%" not in card.split("## Accuracy")[1].split("## Calibration")[0]
    assert "## Data\n\nNot recorded.\n" in card


def test_card_says_what_is_promised() -> None:
    """A model that can tell other things says how often it refuses a true one; another, why not."""
    about = {
        "reason": None,
        "level": 0.05,
        "reference": "validation pictures",
        "pictures": 153,
        "refused": 0.0457,
        "weak": False,
    }
    model = PackedModel("resnet18", ("a", "b"), "onnx", typicality=about)
    told = write_card(model, "x:1")
    weak = write_card(replace(model, typicality=about | {"weak": True, "stage": "layer1"}), "x:1")
    mute = write_card(replace(model, typicality={"reason": "every stage was trained"}), "x:1")

    assert "less usual than 95 % of the 153 validation pictures" in told
    assert "about 5 in a hundred are refused so, too (4.6 % of these, cross-validated)" in told
    assert "as far as layer1, which tell other things less well" in weak
    assert "It cannot tell such pictures: every stage was trained." in mute
