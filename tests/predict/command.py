"""The command in this process."""

import pytest

from antbee.artifact import PackedModel
from antbee.predict import main

Capture = pytest.CaptureFixture[str]
ORDER = ["a.PNG", "b.jpg", "y.bmp", "z.jpeg", "sub/c.webp", "sub/deep/d.gif"]


def run(packed: PackedModel, *arguments: object) -> int:
    """Run the command with a packed model's folder."""
    return main([*map(str, arguments), "--model", str(packed.folder)])
