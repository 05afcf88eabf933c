"""The API's description, `/docs.json`: `openapi.yaml`, filled in for the server that answers."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml

from antbee.errors import NO_REQUEST, STATUS
from antbee.serving.settings import Settings

FILE: Final = Path(__file__).with_name("openapi.yaml")
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}


def describe(model: str, labels: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Describe the API of a server with these settings; `model` is what answers, `name:version`."""
    codes: dict[str, list[str]] = {}
    for code, status in STATUS.items():
        if code not in NO_REQUEST:
            codes.setdefault(f"codes_{status}", []).append(code)
    values = {
        "model": model,
        "labels": list(labels),
        "labels_or_none": [*labels, None],
        "names": ", ".join(labels),
        "shares": dict.fromkeys(labels, _SHARE),
        "max_images": settings.max_images,
        "codes": list(STATUS),
        **{name: ", ".join(listed) for name, listed in codes.items()},
    }
    described: dict[str, Any] = fill(_template(), values)
    components = described["components"]
    if not settings.allow_urls:
        components["schemas"]["Picture"] = components["schemas"]["Picture"]["oneOf"][0]
    if not settings.feedback:
        del described["paths"]["/feedback"]
    if not settings.api_key:
        del described["security"], components["securitySchemes"]
        for methods in described["paths"].values():
            for operation in methods.values():
                operation.pop("security", None)
                operation["responses"].pop("401", None)
    return described


@cache
def _template() -> Any:  # noqa: ANN401 - whatever YAML holds
    # Once: reading YAML takes as long as classifying a picture, and the event loop would wait.
    return yaml.safe_load(FILE.read_text("utf-8"))


def fill(node: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Copy a document with each `$name` filled in: alone by the value, within text by its text."""
    if isinstance(node, dict):
        return {key: fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [fill(value, values) for value in node]
    if isinstance(node, str) and "$" in node:
        name = node.removeprefix("$")
        return values[name] if name in values else Template(node).substitute(values)
    return node
