"""The report's last parts: what the run was made of, from the checkpoint alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from antbee.training.checkpoint import Checkpoint
from antbee.training.report.markup import Markup, facts, join, section, table, tag

_KINDS: Final = {
    "across": "in training and validation at once, so that the accuracy is flattering",
    "contradicting": "under more than one label, so that at least one of them is wrong",
}
"""What `antbee.training.data.find_duplicates` finds."""


def data_section(data: Mapping[str, Any]) -> Markup:
    """Tell what the run was trained and measured on.

    Args:
        data: `antbee.training.data.Pictures.provenance`.
    """
    counts: Mapping[str, Mapping[str, int]] = data.get("pictures", {})
    labels = list(dict.fromkeys(label for split in counts.values() for label in split))
    rows: list[Sequence[object]] = [
        (label, *(split.get(label, 0) for split in counts.values())) for label in labels
    ]
    rows.append(("together", *(sum(split.values()) for split in counts.values())))
    named = ("folder", "source", "sha256")
    return section(
        "Data set",
        facts((name, data[name]) for name in named if data.get(name)),
        table(("label", *counts), rows),
        _left_out(data.get("left_out", {})),
        _duplicates(data.get("duplicates", {})),
    )


def _left_out(reasons: Mapping[str, str]) -> Markup:
    if not reasons:
        return tag("p", "Every file could be read.")
    return _folded(f"Files left out: {len(reasons)}", table(("file", "reason"), reasons.items()))


def _duplicates(found: Mapping[str, Any]) -> Markup:
    parts = []
    for kind, meaning in _KINDS.items():
        if count := found.get(kind, 0):
            pairs = found.get("names", {}).get(kind, [])
            parts.append(
                _folded(f"Duplicates {meaning}: {count}", table(("file", "the same as"), pairs))
            )
    return join(parts)


def run_section(checkpoint: Checkpoint, history: Sequence[Mapping[str, Any]], made: str) -> Markup:
    """Tell settings, starting weights, versions and times.

    Args:
        checkpoint: of the best epoch.
        history: lines of metrics.jsonl: `seconds` and `pictures_per_second` are used.
        made: when the report was made.
    """
    computing = {"precision": checkpoint.precision, "threads": checkpoint.threads}
    settings = checkpoint.arguments | computing
    return join(
        (
            section("Settings", facts((name, _given(one)) for name, one in settings.items())),
            section("Starting weights", facts(_weights(checkpoint.weights))),
            section("Versions", facts(checkpoint.versions.items())),
            section("Times", facts(_times(history, made))),
        )
    )


def _given(value: object) -> object:
    return "none" if value is None else value


def _weights(weights: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Tensors by name would fill pages; how many there are is enough."""
    return [
        (name, f"{len(value)} tensors" if isinstance(value, list) and value else value or "none")
        for name, value in weights.items()
    ]


def _times(history: Sequence[Mapping[str, Any]], made: str) -> list[tuple[object, object]]:
    seconds = [line["seconds"] for line in history]
    speeds = sorted(line["pictures_per_second"] for line in history)
    return [
        ("epochs", len(history)),
        ("all epochs", duration(sum(seconds))),
        ("an epoch, on average", duration(sum(seconds) / len(seconds))),
        ("training pictures a second, median", f"{speeds[len(speeds) // 2]:.1f}"),
        ("report made", made),
    ]


def duration(seconds: float) -> str:
    """Write a time for a person: 12.1 s, 3 min 05 s, 2 h 10 min."""
    minutes = round(seconds) // 60
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {round(seconds) % 60:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _folded(title: str, content: Markup) -> Markup:
    return tag("details", tag("summary", title), content)
