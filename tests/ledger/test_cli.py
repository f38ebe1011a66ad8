"""``kit ledger``: what an operator types, and what comes back."""

import json
from pathlib import Path

import pytest

from kit.cli.ledger import ledger as command
from kit.errors import DefinitionError
from kit.ledger import SqliteLedger, State
from tests.ledger._commands import bring_to, undo


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


async def run(*words: str) -> int:
    """What ``kit ledger ...`` exits with."""
    code: int = await command.run_async(list(words), result_action="return_value")
    return code


async def test_migrate_then_status(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A database has no schema, is migrated, and has it."""
    assert await run("status", url) == 1
    assert await run("migrate", url) == 0
    assert await run("status", url) == 0

    assert capsys.readouterr().out.splitlines() == [
        "ledger schema: none, needed: 0002",
        "ledger schema is at revision 0002",
        "ledger schema: 0002, needed: 0002",
    ]


async def test_sql_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--sql`` nothing is touched: the statements are printed."""
    assert await run("migrate", "postgresql", "--sql") == 0

    assert "CREATE TABLE kit_effects" in capsys.readouterr().out


async def test_row_is_shown_as_json(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One key's row is one JSON document, its request and result included; no row is exit code 1."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        await bring_to(ledger, State.DONE)

    assert await run("show", "k", "--url", url) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["state"], row["result"]) == ("done", {"authorization_id": "auth-1"})
    assert row["updated_at"].endswith("+00:00")
    assert await run("show", "other", "--url", url) == 1


async def test_saga_is_listed(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All rows of a workflow are listed."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        await bring_to(ledger, State.DONE, "a")
        await bring_to(ledger, State.UNKNOWN, "b")

    assert await run("saga", "checkout-1", "--url", url) == 0

    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["done", "unknown"]


async def test_purge_says_how_many(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settled rows whose time is over go; an unknown one stays."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        await ledger.apply(undo(expires=-(10.0**8)))  # some years ago, whenever this runs
        await bring_to(ledger, State.UNKNOWN, "b")

    assert await run("purge", url) == 0

    assert capsys.readouterr().out == "purged 1 rows\n"


async def test_reading_makes_no_file(url: str, tmp_path: Path) -> None:
    """A mistyped path is an error, not a new and empty ledger."""
    with pytest.raises(DefinitionError, match="there is no ledger at"):
        await run("show", "k", "--url", url)

    assert list(tmp_path.iterdir()) == []


async def test_url_may_come_from_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``KIT_LEDGER_URL`` names the ledger for every command."""
    monkeypatch.setenv("KIT_LEDGER_URL", url)

    assert await run("migrate") == 0
    assert await run("status") == 0
