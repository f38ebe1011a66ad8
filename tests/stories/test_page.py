"""The stories on the page are the code that the tests run."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/explanation/bugs-it-finds.md"


def test_the_code_on_the_page_is_the_code_of_the_tests() -> None:
    """Every block of Python on the page stands in a test of a story, letter by letter."""
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py")))

    lost = [block.line for block in blocks(PAGE) if block.language == "python" and block.text not in sources]

    assert lost == []


def test_the_tests_named_on_the_page_exist() -> None:
    """Each story names its test."""
    named = [word.strip("`.") for word in PAGE.read_text(encoding="utf-8").split() if "tests/stories/test_" in word]

    assert len(named) == 5
    assert [name for name in named if not (ROOT / name).is_file()] == []
