"""The commands of "Replay past events", typed into the real command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from kit.cli.main import app, run
from kit.workflow.batches import PastEvent, Redriven
from tests.cli.test_replay_batch import events
from tests.docs.pages import ROOT, blocks, plain, rows

PAGE = ROOT / "docs/how-to/replay-events.md"


def commands() -> list[list[str]]:
    """The commands of the page, as a shell takes them apart."""
    return [shlex.split(block.text)[1:] for block in blocks(PAGE) if block.language == "sh"]


def test_first_command_says_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dry run prints the page's line."""
    shown = next(block.text.strip() for block in blocks(PAGE) if block.text.startswith("Would"))
    monkeypatch.chdir(events(tmp_path).parent)

    code = run(commands()[0])

    assert code == 0
    assert capsys.readouterr().out.splitlines()[0] == shown


def test_line_of_the_file_is_understood() -> None:
    """The event that the page shows can be read."""
    line = next(block.text for block in blocks(PAGE) if block.text.startswith("{"))

    assert PastEvent.model_validate_json(line).workflow == "Checkout"


def test_second_command_is_the_first_and_does_it() -> None:
    """The command that does it is the one that was looked at, and is understood."""
    look, do = commands()

    _, bound, _ = app.parse_args(do, exit_on_error=False, print_error=False)

    assert do == [*look, "--yes"]
    assert bound.arguments["yes"] is True


def test_every_fate_is_explained() -> None:
    """The table has each word that a report can use."""
    assert [plain(row[0]) for row in rows(PAGE, "What becomes of each event")] == [fate.value for fate in Redriven]
