"""The reference of `kit verify` says what the command does."""

from __future__ import annotations

import inspect
import re

import kit_pytest
from kit.cli.verify import every_fault
from kit.testing.faults import FaultKind, Scenario
from kit.testing.report import document, page, words
from kit.testing.report.summary import LIMIT
from kit.testing.runs import Ending
from tests.docs.pages import ROOT, blocks, plain, rows, section
from tests.testing.report.sample import report

PAGE = ROOT / "docs/reference/verify.md"


def test_every_option_is_listed() -> None:
    """The table has the command's arguments, in the order of `--help`."""
    _, *names = inspect.signature(every_fault).parameters
    options = ["--write-test" if name == "to_test" else f"--{name}" for name in names]

    assert [plain(row[0]) for row in rows(PAGE, "Options")] == ["WORKFLOW", *options]
    assert f"{LIMIT:,} characters" in section(PAGE, "Options")


def test_every_fault_is_explained() -> None:
    """The table is the vocabulary, in its order, in the words of the reports."""
    expected = [[kind.value, kind.seam.value, words.fault(kind)] for kind in FaultKind]

    assert [[plain(cell) for cell in row] for row in rows(PAGE, "Faults")] == expected


def test_every_ending_is_explained() -> None:
    """The table is the vocabulary, with the marks of the reports."""
    expected = [[words.MARKS[ending], ending.value, words.ENDINGS[ending]] for ending in Ending]

    assert [[plain(cell) for cell in row] for row in rows(PAGE, "Endings")] == expected


def test_the_id_of_the_page_is_one() -> None:
    """The example can be typed."""
    (example,) = [block.text.strip() for block in blocks(PAGE) if block.language == "text"]

    assert str(Scenario.parse(example)) == example
    assert len(Scenario.parse(example).faults) == 2


def test_every_key_of_the_document_is_listed() -> None:
    """The table has all of them, and no other."""
    listed = [key for row in rows(PAGE, "The document") for key in re.findall(r"`(\w+)`", row[0])]

    assert sorted(listed) == sorted(document(report()))


def test_every_part_of_the_page_is_listed() -> None:
    """Each heading of a report has its row."""
    titles = re.findall(r"<h2>(.*?)</h2>", page([report()]))
    parts = [row[0] for row in rows(PAGE, "The page")]

    assert parts[0] == "the verdict"
    assert [title.lower().partition(":")[0] for title in titles] == parts[1:]


def test_every_option_of_the_plugin_is_listed() -> None:
    """The table has what the plugin adds."""
    added = re.findall(r'"(--kit-[\w-]+)"', inspect.getsource(kit_pytest.pytest_addoption))

    assert [plain(row[0]) for row in rows(PAGE, "In a test")] == added
