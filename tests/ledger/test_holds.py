"""Every place that keeps holds keeps them alike."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.contract import Hold, HoldGate, HoldScope
from kit.errors import LedgerUnavailable
from kit.ledger import HoldStore, MemoryLedger, SqliteLedger, SqlLedger, TransactionalLedger, holds_of, migrate
from kit.ledger.migrating import migrate_file

NOW = datetime.now(UTC).replace(microsecond=123456)


def hold(name: str = "bank.pay", **terms: Any) -> Hold:
    """A hold on an operation."""
    return Hold(**{"scope": HoldScope.OPERATION, "name": name, "reason": "why", "who": "ada", "since": NOW, **terms})


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of store there is."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where it is. Starts PostgreSQL only where it is needed."""
    if kind == "postgres":
        return str(request.getfixturevalue("postgres"))
    return "memory://" if kind == "memory" else f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[HoldStore]:
    """A store of every kind, with nothing in it."""
    async with SqlLedger(url).holds as opened:
        yield opened


async def test_what_is_on_is_read_as_it_was_switched(store: HoldStore) -> None:
    """Every term comes back, to the microsecond."""
    full = hold(until=NOW + timedelta(hours=1), gates={HoldGate.START, HoldGate.AFTER_COMMIT}, accepts=True, undo=True)
    await store.switch_on(full)
    await store.switch_on(hold("mail.send"))

    assert await store.active() == [full, hold("mail.send")]


async def test_last_switch_counts(store: HoldStore) -> None:
    """On again changes the terms; off lifts, whatever came before; another scope of the same name is another hold."""
    await store.switch_on(hold())
    await store.switch_on(hold(scope=HoldScope.DEPENDENCY))
    changed = hold(reason="another", since=NOW + timedelta(seconds=1))
    await store.switch_on(changed)

    lifted = await store.switch_off(HoldScope.OPERATION, "bank.pay", who="bob", reason="mended", at=NOW)

    assert lifted == changed
    assert await store.active() == [hold(scope=HoldScope.DEPENDENCY)]
    assert await store.switch_off(HoldScope.OPERATION, "bank.pay", who="bob", reason="again", at=NOW) is None


async def test_history_says_who_and_why_of_each_switch(store: HoldStore) -> None:
    """The newest first, at most as many as are asked for; what was off before leaves no line."""
    await store.switch_off(HoldScope.OPERATION, "bank.pay", who="eve", reason="nothing", at=NOW)
    await store.switch_on(hold())
    await store.switch_off(HoldScope.OPERATION, "bank.pay", who="bob", reason="mended", at=NOW)

    found = await store.history()

    assert [(one.on, one.who, one.reason, one.hold) for one in found] == [
        (False, "bob", "mended", None),
        (True, "ada", "why", hold()),
    ]
    assert await store.history(limit=1) == found[:1]


async def test_hold_that_ended_long_ago_is_not_read(store: HoldStore, kind: str) -> None:
    """One that ended just now is, for clocks differ: whoever it would stop decides."""
    ended = hold(since=NOW - timedelta(days=9), until=NOW - timedelta(minutes=1))
    old = hold("mail.send", since=NOW - timedelta(days=9), until=NOW - timedelta(days=2))
    await store.switch_on(ended)
    await store.switch_on(old)

    assert await store.active() == ([ended, old] if kind == "memory" else [ended])


async def test_holds_survive_the_process(tmp_path: Path) -> None:
    """Another process with the same file knows them, and so does a worker that starts anew."""
    async with SqliteLedger(tmp_path / "ledger.db") as first:
        await first.holds.switch_on(hold())
    async with SqliteLedger(tmp_path / "ledger.db") as second:
        assert await second.holds.active() == [hold()]


async def test_ledger_of_the_first_schema_gets_its_holds(tmp_path: Path) -> None:
    """A file from before the holds is upgraded when it is opened, and keeps its rows."""
    path = str(tmp_path / "ledger.db")
    migrate_file(path)
    with sqlite3.connect(path) as file:  # back to the first revision
        file.executescript("DROP TABLE kit_holds; UPDATE kit_schema SET version_num = '0001'")
    file.close()

    async with SqliteLedger(path) as ledger:
        await ledger.holds.switch_on(hold())

        assert await ledger.holds.active() == [hold()]
    assert await migrate(f"sqlite:///{path}")


async def test_store_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    """Nothing is answered from a place that nobody has opened."""
    with pytest.raises(LedgerUnavailable):
        await SqliteLedger(tmp_path / "ledger.db").holds.active()


def test_only_the_effect_ledgers_keep_holds() -> None:
    """The ledger in a service's own database has its rows and no holds: there is one place for them."""
    memory = MemoryLedger()

    assert holds_of(memory) is memory.holds
    assert not hasattr(TransactionalLedger, "holds")
    assert holds_of(None) is None
