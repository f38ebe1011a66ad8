"""The SQLite ledger: durable, shared by processes, and honest when it fails."""

import asyncio
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from kit.errors import DefinitionError, LedgerError, LedgerSchemaError, LedgerUnavailable
from kit.ledger import Claimed, Ledger, SqliteLedger, State
from kit.ledger import _writer as writer_module
from kit.ledger._rows import PURGE_BATCH
from tests.ledger._commands import at, bring_to, claim, undo

SHORT = timedelta(milliseconds=20)


def lock(path: Path) -> sqlite3.Connection:
    """Hold the write lock, as another process in the middle of a transaction does."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


async def test_file_is_fully_durable(tmp_path: Path) -> None:
    """Every commit of the ledger's connection is flushed, in a write-ahead log."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        assert ledger._writer is not None
        mode = await ledger._writer.do(
            lambda db: (
                db.execute("PRAGMA journal_mode").fetchone()[0],
                db.execute("PRAGMA synchronous").fetchone()[0],
            ),
            writes=False,
        )

    assert mode == ("wal", 2)


async def test_rows_survive_reopening(tmp_path: Path) -> None:
    """What was answered before closing is there for the next process."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        row = await bring_to(ledger, State.DONE)

    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        assert await ledger.get("k") == row


async def test_two_ledgers_on_one_file_see_each_other(tmp_path: Path) -> None:
    """Two workers on one file share every row."""
    async with SqliteLedger(tmp_path / "l.db") as one, SqliteLedger(tmp_path / "l.db") as two:
        row = await bring_to(one, State.DONE)

        assert await two.get("k") == row


async def test_callers_of_two_event_loops_are_answered(tmp_path: Path) -> None:
    """One open ledger serves callers of several event loops in several threads."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        here = ledger.apply(claim("here"))
        there = asyncio.to_thread(lambda: asyncio.run(_claim(ledger, "there")))

        assert all(isinstance(verdict, Claimed) for verdict in await asyncio.gather(here, there))


async def _claim(ledger: Ledger, key: str) -> object:
    return await ledger.apply(claim(key))


async def test_closing_finishes_what_was_asked(tmp_path: Path) -> None:
    """Commands that wait when the ledger is closed are done and answered."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    asked = [asyncio.create_task(ledger.apply(claim(f"k{n}"))) for n in range(20)]
    await asyncio.sleep(0)  # they have asked

    await ledger.close()

    assert all(isinstance(verdict, Claimed) for verdict in await asyncio.gather(*asked))


async def test_closed_ledger_says_so(tmp_path: Path) -> None:
    """Before opening and after closing, a command is refused at once."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="not open"):
        await ledger.apply(claim())

    async with ledger:
        pass

    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.apply(claim())


async def test_locked_file_is_unavailable_then_recovers(tmp_path: Path) -> None:
    """When another process holds the lock for too long, all who wait are told; later ones are served."""
    path = tmp_path / "ledger.db"
    async with SqliteLedger(path, busy_timeout=SHORT) as ledger:
        other = lock(path)
        answers = await asyncio.gather(*(ledger.apply(claim(f"k{n}")) for n in range(5)), return_exceptions=True)
        other.close()

        assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
        assert isinstance(await ledger.apply(claim()), Claimed)
        assert await ledger.get("k0") is None


async def test_reading_needs_no_lock(tmp_path: Path) -> None:
    """Looking up a row works while another process writes."""
    path = tmp_path / "ledger.db"
    async with SqliteLedger(path, busy_timeout=SHORT) as ledger:
        row = await bring_to(ledger, State.DONE)
        other = lock(path)

        assert await ledger.get("k") == row
        other.close()


async def test_cancelled_caller_harms_nobody(tmp_path: Path) -> None:
    """A caller that gives up while it waits leaves its neighbours and the ledger in order."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        impatient = asyncio.create_task(ledger.apply(claim("impatient")))
        patient = asyncio.create_task(ledger.apply(claim("patient")))
        await asyncio.sleep(0)
        impatient.cancel()

        assert isinstance(await patient, Claimed)
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert isinstance(await ledger.apply(claim("next")), Claimed)


async def test_loop_that_closed_early_stops_nobody(tmp_path: Path) -> None:
    """A caller whose event loop is gone is skipped; others are answered."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        assert ledger._writer is not None
        gate = threading.Event()
        held = asyncio.create_task(ledger._writer.do(lambda _: gate.wait(), writes=False))
        await asyncio.sleep(0)

        def ask_and_leave() -> None:
            loop = asyncio.new_event_loop()
            asking = loop.create_task(_claim(ledger, "gone"))
            loop.call_soon(loop.stop)
            loop.run_forever()
            asking.cancel()
            loop.run_until_complete(asyncio.gather(asking, return_exceptions=True))
            loop.close()

        await asyncio.to_thread(ask_and_leave)
        gate.set()

        assert await held
        assert isinstance(await ledger.apply(claim("k")), Claimed)
        assert await ledger.get("gone") is not None


async def test_neighbours_of_bad_data_are_done(tmp_path: Path) -> None:
    """In one transaction, a command that cannot be stored fails alone and without a trace."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        bad = claim("bad", step=2**70)

        one, error, two = await asyncio.gather(
            ledger.apply(claim("one")), ledger.apply(bad), ledger.apply(claim("two")), return_exceptions=True
        )

        assert isinstance(one, Claimed)
        assert isinstance(two, Claimed)
        assert isinstance(error, LedgerError)
        assert not isinstance(error, LedgerUnavailable)
        assert await ledger.get("bad") is None


async def test_connection_that_breaks_is_replaced(tmp_path: Path) -> None:
    """After a failure that leaves the connection useless, the next caller gets a new one."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        assert ledger._writer is not None

        def break_it(connection: sqlite3.Connection) -> None:
            connection.close()
            raise sqlite3.OperationalError("disk I/O error")

        with pytest.raises(LedgerUnavailable, match="disk I/O error"):
            await ledger._writer.do(break_it, writes=True)

        assert isinstance(await ledger.apply(claim()), Claimed)


async def test_file_that_went_away_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    """While the file cannot be opened again, each caller is told; none hangs."""
    folder = tmp_path / "volume"
    folder.mkdir()
    async with SqliteLedger(folder / "ledger.db") as ledger:
        assert ledger._writer is not None

        def unplug(connection: sqlite3.Connection) -> None:
            connection.close()
            folder.rename(tmp_path / "unplugged")
            raise sqlite3.OperationalError("disk I/O error")

        with pytest.raises(LedgerUnavailable):
            await ledger._writer.do(unplug, writes=True)
        with pytest.raises(LedgerUnavailable, match="cannot be opened"):
            await ledger.apply(claim())
        (tmp_path / "unplugged").rename(folder)

        assert isinstance(await ledger.apply(claim()), Claimed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_thread_that_dies_leaves_nobody_waiting(tmp_path: Path) -> None:
    """If the writer's thread itself fails, all who wait are told, and opening again starts anew."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    assert ledger._writer is not None
    gate = threading.Event()

    def die(_: sqlite3.Connection) -> None:
        gate.wait()
        raise _Fatal

    dying = asyncio.create_task(ledger._writer.do(die, writes=True))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ledger.apply(claim()))
    await asyncio.sleep(0)
    gate.set()

    answers = await asyncio.gather(dying, waiting, return_exceptions=True)

    assert [type(answer) for answer in answers] == [LedgerUnavailable, LedgerUnavailable]
    await ledger.close()
    async with ledger:
        assert isinstance(await ledger.apply(claim()), Claimed)


class _Fatal(BaseException):
    """Nothing that code expects."""


async def test_folder_must_exist(tmp_path: Path) -> None:
    """Opening a file in a folder that is not there fails with its name, and may be tried again."""
    ledger = SqliteLedger(tmp_path / "missing" / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="missing"):
        await ledger.open()
    (tmp_path / "missing").mkdir()

    async with ledger:
        assert isinstance(await ledger.apply(claim()), Claimed)


async def test_file_of_a_later_kit_is_refused(tmp_path: Path) -> None:
    """A file that a later version has upgraded is not touched."""
    path = tmp_path / "ledger.db"
    async with SqliteLedger(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE kit_schema SET version_num = '9999'")
    connection.close()

    with pytest.raises(LedgerSchemaError, match=r"'9999'.*Upgrade the kit"):
        await SqliteLedger(path).open()


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_memory_is_no_file(path: str) -> None:
    """A ledger that would be empty after a crash is refused when it is built."""
    with pytest.raises(DefinitionError, match="empty after every crash"):
        SqliteLedger(path)


async def test_purge_goes_on_until_all_are_gone(tmp_path: Path) -> None:
    """A purge takes many short transactions, and in the end everything whose time is over."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        await asyncio.gather(*(ledger.apply(undo(f"k{n}", expires=1)) for n in range(PURGE_BATCH + 1)))

        assert await ledger.purge(at(1)) == PURGE_BATCH + 1


async def test_batch_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, one transaction serves so many and no more; all are served."""
    monkeypatch.setattr(writer_module, "MAX_BATCH", 4)
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        verdicts = await asyncio.gather(*(ledger.apply(claim(f"k{n}")) for n in range(11)))

    assert all(isinstance(verdict, Claimed) for verdict in verdicts)
