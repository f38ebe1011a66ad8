"""The commands of "Hold", typed into the real command line, and its tables."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.cli.main import run
from kit.contract import DEFAULT_GATES, HELD_PAUSE, Effect, HoldFails, HoldGate, HoldScope
from kit.ledger import SqliteLedger
from kit.worker.holding import EVERY, STALE_AFTER
from tests.docs.pages import ROOT, blocks, plain, prose, rows
from tests.shops import SERVICE, TABLE

PAGE = ROOT / "docs/how-to/hold.md"


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.slow
async def test_the_commands_switch_list_and_lift(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed from top to bottom each does what the page says of it, and in the end nothing is on."""
    address = server.client.service_client.config.target_host
    (tmp_path / "pyproject.toml").write_text(TABLE.replace('"service:app"', '"service_of_hold:app"'))
    (tmp_path / "service_of_hold.py").write_text(SERVICE.format(address=address, folder=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    codes: list[int] = []
    for block in blocks(PAGE):
        if block.language == "sh":
            for line in block.text.splitlines():
                command, *words = shlex.split(line)
                assert command == "kit"
                codes.append(await asyncio.to_thread(run, words))

    told = capsys.readouterr()
    (refusal,) = (block.text for block in blocks(PAGE) if block.language == "text")
    assert codes == [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert refusal in told.err
    assert "Checkout (0 open): payments.capture" in told.out
    assert "Nothing is switched. Add --yes to do it." in told.out
    assert "at start; new runs are accepted and wait" in told.out
    async with SqliteLedger(tmp_path / "effects.db") as ledger:
        assert await ledger.holds.active() == []


def test_the_scopes_are_all_there_with_their_gates() -> None:
    """The table of scopes holds the defaults that are in force."""
    told = [(plain(row[0]), row[2]) for row in rows(PAGE, "Switch it on")]

    expected = [
        (scope.value, ", ".join(gate.value for gate in HoldGate if gate in DEFAULT_GATES[scope])) for scope in HoldScope
    ]
    assert told == expected


def test_the_gates_are_all_there() -> None:
    """The table of gates has each, as the command wants it written."""
    told = [plain(row[0]) for row in rows(PAGE, "Choose where it stops")]

    assert told == [gate.value.replace("_", "-") for gate in HoldGate]


def test_each_effect_fails_as_the_page_says() -> None:
    """What goes on and what waits while the holds cannot be read."""
    told = {
        plain(effect): HoldFails.OPEN if "OPEN" in row[1] else HoldFails.CLOSED
        for row in rows(PAGE, "When the holds cannot be read")
        for effect in row[0].split(", ")
    }

    assert told == {effect.value: effect.hold_fails for effect in Effect}


def test_the_times_on_the_page_are_those_of_the_code() -> None:
    """How often a worker looks, when a step asks again, and when nobody knows any more."""
    text = " ".join(prose(PAGE).split())

    assert (EVERY.total_seconds(), HELD_PAUSE.total_seconds(), STALE_AFTER.total_seconds()) == (1, 2.5, 10)
    assert "looks at the holds every second" in text
    assert "asks again every 2.5 seconds" in text
    assert "After ten seconds nobody can say" in text
    assert (EVERY + HELD_PAUSE).total_seconds() < 5
