"""The pages about the gates: every command in them is one that there is."""

from __future__ import annotations

import shlex
import subprocess
from typing import Final

import pytest

from kit.cli.main import app
from tests.docs.pages import ROOT, blocks, name_of

PAGES: Final = [
    ROOT / "docs" / page
    for page in (
        "how-to/ci-gates.md",
        "how-to/replay-and-rollback.md",
        "reference/contract-lock.md",
        "reference/lint.md",
    )
]
COMMANDS: Final = [
    (name_of(page), line.removeprefix("gate ").strip())
    for page in PAGES
    for block in blocks(page)
    if block.language == "sh"
    for line in (one.strip() for one in block.text.splitlines())
    if line.startswith(("kit ", "gate kit "))
]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command[:40]}" for page, command in COMMANDS])
def test_a_command_of_a_page_is_understood(page: str, command: str) -> None:
    """The command line takes each command that a page shows, with every option."""
    words = shlex.split(command, comments=True)[1:]

    called, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)

    assert callable(called)
    assert bound is not None


def test_every_gate_has_a_command_on_the_pages() -> None:
    """None of the gates is left out."""
    shown = {command.split()[1] for _, command in COMMANDS}

    assert shown >= {"lint", "contracts", "replay", "verify", "rollback-check"}


def test_the_script_of_the_pipeline_is_a_script() -> None:
    """The script that one is told to copy is understood by the shell."""
    (script,) = [block.text for block in blocks(PAGES[0]) if block.text.startswith("#!/bin/sh")]

    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
