"""The pages of the docs: their headings, links, code blocks and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """One fenced block of code."""

    language: str
    """The first word behind the fence."""
    marks: tuple[str, ...]
    """The other words behind it."""
    text: str
    line: int


def name_of(page: Path) -> str:
    """A page's path as the docs write it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """A page's blocks, in order."""
    inside: list[str] | None = None
    head: list[str] = []
    start = 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```") and inside is None:
            inside, head, start = [], line.removeprefix("```").split(), number + 1
        elif line == "```" and inside is not None:
            yield Block(head[0] if head else "", tuple(head[1:]), "\n".join(inside) + "\n", start)
            inside = None
        elif inside is not None:
            inside.append(line)


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link to a heading may say, as GitHub makes it."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        found.add(text)
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and images."""
    yield from re.findall(r"\]\(([^)\s]+)\)", prose(page))


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, flags=re.MULTILINE)
    assert found is not None, f"{name_of(page)} has no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head; code marks are taken off."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{name_of(page)} has no table below {heading!r}"
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip() for cell in row] for row in cells]


def plain(cell: str) -> str:
    """A cell without its marks."""
    text = cell.replace("`", "")
    for written, character in (("&lt;", "<"), ("&gt;", ">"), (r"\|", "|"), (r"\*", "*")):
        text = text.replace(written, character)
    return text
