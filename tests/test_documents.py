"""The documents: what they link to is there."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import REPOSITORY

DOCUMENTS: Final = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
LINK: Final = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
CODE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Every link within the repository leads to a file, and to a heading where it names one."""
    links = [one or other for one, other in LINK.findall(CODE.sub("", document.read_text()))]
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_short() -> None:
    """The README is two screens: what is longer belongs in a page of its own."""
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150
