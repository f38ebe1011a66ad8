"""The guard over a ledger file, as two worker processes of one host share it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kit.contract import FailureKind
from kit.ledger import SqliteLedger, State, migrate
from kit.worker.attempt import Attempt
from tests.worker.world import CRASH_AFTER, EPOCH, KEY_PROBE, LOST, PROBE, TIMEOUT, Crash, Receipt, World


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A ledger file at the newest schema."""
    path = tmp_path / "ledger.db"
    await migrate(f"sqlite:///{path}")
    return path


def _attempt(number: int, *, hour: int) -> Attempt:
    return Attempt(number=number, started_at=EPOCH + timedelta(hours=hour), timeout=TIMEOUT)


async def _two(file: Path, first: World, second: World) -> None:
    """Two workers, each with a connection of its own, before one provider."""
    for world in (first, second):
        world.ledger.inner = world.memory = SqliteLedger(file)
        await world.memory.open()
    second.provider = second.connector.provider = first.provider


async def test_crash_of_one_worker_is_resolved_by_the_other(file: Path) -> None:
    """What one process did and could not record is found by the next, and recorded for both."""
    first, second = World(PROBE), World(PROBE)
    await _two(file, first, second)
    first.fault("charge", CRASH_AFTER)
    with pytest.raises(Crash):
        await first.act(attempt=_attempt(1, hour=0))

    result = await second.act(attempt=_attempt(2, hour=1))

    assert result == Receipt(charge="ch_1")
    assert (first.provider.made("o-1"), await first.state()) == (1, State.DONE)
    assert await first.act(attempt=_attempt(3, hour=2)) == result
    await first.memory.close()
    await second.memory.close()


async def test_lease_of_one_worker_holds_for_the_other(file: Path) -> None:
    """While one process may be at work, the other waits."""
    first, second = World(KEY_PROBE), World(KEY_PROBE)
    await _two(file, first, second)
    first.fault("charge", CRASH_AFTER)
    with pytest.raises(Crash):
        await first.act(attempt=_attempt(1, hour=0))

    failure = await second.fails(second.act(attempt=_attempt(2, hour=0)))

    assert (failure.kind, failure.reason) == (FailureKind.CONFLICT, "lease_live")
    await first.memory.close()
    await second.memory.close()


async def test_undo_by_the_other_worker_needs_nothing_but_the_row(file: Path) -> None:
    """The undo finds in the file what was done, also after the process that did it is gone."""
    first, second = World(KEY_PROBE), World(KEY_PROBE)
    await _two(file, first, second)
    await first.act(attempt=_attempt(1, hour=0))
    await first.memory.close()

    assert await second.undo(attempt=_attempt(1, hour=1)) is True
    assert (first.provider.live("o-1"), await second.state()) == (0, State.UNDONE)
    await second.memory.close()


async def test_doubt_written_by_one_worker_is_looked_up_by_the_other(file: Path) -> None:
    """A lost reply in one process is a look-up in the next, before anything is undone."""
    first, second = World(PROBE), World(PROBE)
    await _two(file, first, second)
    await first.fails(first.fault("charge", LOST).act(attempt=_attempt(1, hour=0)))

    assert await second.undo(attempt=_attempt(1, hour=1)) is True
    assert first.provider.calls == {"charge": 1, "find": 1, "void": 1}
    await first.memory.close()
    await second.memory.close()
