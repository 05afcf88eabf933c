"""A packed model's card: what `model.json` says of it, for people. `card.md` is its template."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from antbee.accuracy import HeldOut, Proportion
from antbee.artifact import PackedModel
from antbee.command import printable

TEMPLATE: Final = "card.md"


def write_card(model: PackedModel, name: str) -> str:
    """Describe a packed model in Markdown; `name` is what it is called."""
    environment = Environment(  # noqa: S701 - this is no HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: printable(text).replace("|", "\\|")
    data = model.provenance.get("data", {})
    arguments = model.provenance.get("arguments", {})
    rows = [row for row in model.gate.get("rows", ()) if row["runtime"] == model.runtime]
    measured = rows and model.calibration.pictures
    test = model.metrics.get("test")
    return environment.get_template(TEMPLATE).render(
        name=name,
        model=model,
        weights=arguments.get("weights", "unknown weights"),
        balance=arguments.get("balance", False),
        counts=data.get("pictures"),
        source=data.get("source"),
        accuracy=Proportion(rows[0]["correct"], rows[0]["pictures"]) if measured else None,
        test=HeldOut.from_json(test) if test else None,
        calibration=model.calibration.describe(),
    )
