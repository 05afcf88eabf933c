"""A packed model's card."""

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
    assert "no longer those of the run: val/a\\|nt (1 pictures then, 2 now).\n" in card
    assert "| val_top1 | 0.5 |" in card
    assert "Temperature 1.200: expected calibration error 10.0% before" in card
    assert "with its labels weighed alike" in card
    assert "To be filled in" in card


def test_card_says_what_is_not_known() -> None:
    """A model that was packed without pictures says so, and claims nothing."""
    card = write_card(PackedModel("resnet18", ("a", "b"), "onnx"), "x:1")

    assert "no longer those of the run" not in card
    assert "Not measured: there were no validation pictures" in card
    assert "%" not in card.split("## Accuracy")[1].split("## Calibration")[0]
    assert "## Data\n\nNot recorded.\n" in card
