"""Every link of every page leads somewhere, and to the place it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# `src/taskgate/x.py`, `tests/x.py`: code that prose names.
_NAMED_FILE = re.compile(r"`((?:src|tests|bench|scripts|docs|requirements)/[\w./-]+\.\w+)`")
# Written by commands, so perhaps not there yet.
_GENERATED = {"docs/driver-suites.md", "docs/bench/README.md"}


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    found = set()
    for line in _prose(page).splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(_prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        if there.is_relative_to(ROOT) and str(there.relative_to(ROOT)) in _GENERATED:
            continue
        assert there.exists(), f"{link} leads nowhere"
        if anchor and there.suffix == ".md":
            assert anchor in _anchors(there), f"{link}: no such heading"
        elif anchor.startswith("L"):
            count = len(there.read_text().splitlines())
            assert int(anchor.removeprefix("L")) <= count, f"{link}: the file has {count} lines"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_in_prose_is_there(page: Path) -> None:
    for name in _NAMED_FILE.findall(_prose(page)):
        if name not in _GENERATED and "*" not in name:
            assert (ROOT / name).exists(), f"{name} is named and not there"
