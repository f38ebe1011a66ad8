"""The PostgreSQL ledger: one round trip for many, and honest when the server goes away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from kit.errors import DefinitionError, LedgerError, LedgerUnavailable
from kit.ledger import Busy, Claimed, Lost, PostgresLedger, Settled, State
from kit.ledger import postgres as postgres_module
from kit.ledger._rows import PURGE_BATCH
from tests.ledger._commands import LEASE, at, bring_to, claim, complete, release, undo

pytestmark = pytest.mark.slow


@pytest.fixture
async def admin(postgres: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection beside the ledger's."""
    connection = await asyncpg.connect(postgres)
    yield connection
    await connection.close()


async def terminate_others(admin: "asyncpg.Connection[asyncpg.Record]") -> int:
    """End every other connection to this database, as a fail-over does."""
    rows = await admin.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    return len(rows)


async def until_somebody_waits(admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Return when some statement waits for a lock: the database says so."""
    while not await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        pass


async def test_terminated_connections_are_replaced(postgres: str, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """After the server has ended every connection, callers are told at most once each, and then served."""
    async with PostgresLedger(postgres) as ledger:
        await asyncio.gather(*(ledger.apply(claim(f"k{n}")) for n in range(8)))
        assert await terminate_others(admin) >= 2

        async def insist(n: int) -> bool:
            for _ in range(3):
                try:
                    return isinstance(await ledger.apply(complete(f"k{n}")), Settled)
                except LedgerUnavailable:
                    continue
            return False

        assert await asyncio.gather(*(insist(n) for n in range(8))) == [True] * 8
        row = await ledger.get("k0")
        assert row is not None
        assert row.state is State.DONE


async def test_commands_in_flight_are_told(postgres: str, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """A command whose connection is ended while it waits for a lock is `LedgerUnavailable`, not hung."""
    async with PostgresLedger(postgres, writers=1) as ledger:
        seen = await bring_to(ledger, State.CLAIMED)
        async with admin.transaction():
            await admin.execute("SELECT 1 FROM kit_effects WHERE key = 'k' FOR UPDATE")
            waiting = asyncio.create_task(ledger.apply(complete(), expected=seen))
            await until_somebody_waits(admin)
            await terminate_others(admin)

            with pytest.raises(LedgerUnavailable):
                await waiting

        assert isinstance(await ledger.apply(complete(), expected=seen), Settled)


async def test_statement_that_takes_too_long_is_unavailable(
    postgres: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A lock that somebody else keeps for too long is `LedgerUnavailable`."""
    async with PostgresLedger(postgres) as ledger:  # has the time that a busy machine takes
        seen = await bring_to(ledger, State.CLAIMED)
    async with PostgresLedger(postgres, timeout=timedelta(milliseconds=100)) as ledger, admin.transaction():
        await admin.execute("SELECT 1 FROM kit_effects WHERE key = 'k' FOR UPDATE")

        with pytest.raises(LedgerUnavailable):
            await ledger.apply(complete(), expected=seen)


async def test_server_that_does_not_wait_for_its_disk_is_refused(empty_postgres: str) -> None:
    """A ledger that would forget what it answered is refused when it is opened."""
    connection = await asyncpg.connect(empty_postgres)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = 'off'")
    await connection.close()

    with pytest.raises(DefinitionError, match="synchronous_commit = 'off'"):
        await PostgresLedger(empty_postgres).open()


async def test_neighbours_of_bad_data_are_done(postgres: str) -> None:
    """In one round trip, rows that cannot be stored fail alone: refused by the driver, the server, or here."""
    async with PostgresLedger(postgres, writers=1) as ledger:
        answers = await asyncio.gather(
            ledger.apply(claim("one")),
            ledger.apply(claim("too big", step=2**70)),
            ledger.apply(claim("nul\0", saga="bad")),
            ledger.apply(complete("one", result=b"\xff")),
            ledger.apply(claim("two")),
            return_exceptions=True,
        )

        for answer, good in zip(answers, [True, False, False, False, True], strict=True):
            assert isinstance(answer, Claimed if good else LedgerError)
            assert not isinstance(answer, LedgerUnavailable)
        assert [row.key for row in await ledger.of_saga("checkout-1")] == ["one", "two"]


async def test_new_and_changed_rows_share_a_round_trip(postgres: str) -> None:
    """Claims and completions that wait together are all answered rightly."""
    async with PostgresLedger(postgres, writers=1) as ledger:
        seen = [await ledger.apply(claim(f"old{n}")) for n in range(5)]
        answers = await asyncio.gather(
            *(ledger.apply(claim(f"new{n}")) for n in range(5)),
            *(ledger.apply(complete(f"old{n}"), expected=verdict.entry) for n, verdict in enumerate(seen)),
        )

    assert [type(answer) for answer in answers] == [Claimed] * 5 + [Settled] * 5


async def test_commands_for_one_key_are_taken_in_order(postgres: str) -> None:
    """Commands for one key that wait together are applied one after the other."""
    async with PostgresLedger(postgres, writers=1) as ledger:
        answers = await asyncio.gather(
            ledger.apply(claim()), ledger.apply(release()), ledger.apply(claim(owner="b")), ledger.apply(undo())
        )

    assert [type(answer) for answer in answers] == [Claimed, Settled, Claimed, Busy]


async def test_ledgers_that_race_have_one_winner_per_key(postgres: str) -> None:
    """Of two workers that claim and take over the same keys in opposite order, one wins each, without deadlock."""
    async with PostgresLedger(postgres) as one, PostgresLedger(postgres) as two:
        for now in (0.0, LEASE):
            answers = await asyncio.gather(
                *(one.apply(claim(f"k{n}", "one", now=now)) for n in range(100)),
                *(two.apply(claim(f"k{n}", "two", now=now)) for n in reversed(range(100))),
            )
            assert sum(isinstance(answer, Claimed) for answer in answers) == 100
            assert sum(isinstance(answer, Busy) for answer in answers) == 100


async def test_row_that_never_stands_still_is_given_up(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a row changes under every attempt, the caller is told to try again later."""
    monkeypatch.setattr(postgres_module, "MAX_ROUNDS", 0)
    async with PostgresLedger(postgres) as ledger:
        with pytest.raises(LedgerUnavailable, match="changed under each"):
            await ledger.apply(complete())


async def test_closing_finishes_what_was_asked(postgres: str) -> None:
    """Commands that wait when the ledger is closed are done and answered; later ones are refused."""
    ledger = PostgresLedger(postgres)
    with pytest.raises(LedgerUnavailable, match="not open"):
        await ledger.apply(claim())
    await ledger.open()
    asked = [asyncio.create_task(ledger.apply(claim(f"k{n}"))) for n in range(20)]
    await asyncio.sleep(0)

    await ledger.close()

    assert all(isinstance(verdict, Claimed) for verdict in await asyncio.gather(*asked))
    with pytest.raises(LedgerUnavailable, match="not open"):
        await ledger.apply(claim())


async def test_cancelled_caller_harms_nobody(postgres: str) -> None:
    """A caller that gives up while it waits leaves its neighbours in order."""
    async with PostgresLedger(postgres) as ledger:
        impatient = asyncio.create_task(ledger.apply(claim("impatient")))
        patient = asyncio.create_task(ledger.apply(claim("patient")))
        await asyncio.sleep(0)
        impatient.cancel()

        assert isinstance(await patient, Claimed)
        assert isinstance(await ledger.apply(claim("next")), Claimed)


async def test_callers_of_another_event_loop_are_answered(postgres: str) -> None:
    """One open ledger serves callers of other event loops in other threads."""
    async with PostgresLedger(postgres) as ledger:

        async def there() -> object:
            await ledger.apply(claim())
            return await ledger.get("k")

        row = await asyncio.to_thread(lambda: asyncio.run(there()))

        assert row == await ledger.get("k")


def test_loop_that_is_torn_down_leaves_nobody_waiting(postgres: str) -> None:
    """When the event loop ends with the ledger open, its callers are told."""
    ledger = PostgresLedger(postgres)

    async def abandon() -> None:
        await ledger.open()
        waiting = asyncio.create_task(ledger.apply(claim()))
        await asyncio.sleep(0)  # it has asked
        await asyncio.sleep(0)  # a writer is at work on it
        for task in ledger._tasks:
            task.cancel()
        with pytest.raises(LedgerUnavailable, match="stopped"):
            await waiting
        await asyncio.gather(*ledger._tasks, return_exceptions=True)
        with pytest.raises(LedgerUnavailable, match="not open"):
            await ledger.apply(claim())
        assert ledger._reader is not None
        await ledger._reader.close()

    asyncio.run(abandon())


async def test_expected_row_that_moved_on_is_read_again(postgres: str) -> None:
    """A guess that was right in form and wrong in fact is decided anew."""
    async with PostgresLedger(postgres) as ledger:
        seen = await bring_to(ledger, State.CLAIMED)
        await ledger.apply(claim(owner="b", now=LEASE))

        assert isinstance(await ledger.apply(complete(now=LEASE), expected=seen), Lost)


async def test_purge_goes_on_until_all_are_gone(postgres: str) -> None:
    """A purge takes many short transactions, and in the end everything whose time is over."""
    async with PostgresLedger(postgres) as ledger:
        await asyncio.gather(*(ledger.apply(undo(f"k{n}", expires=1)) for n in range(PURGE_BATCH + 1)))

        assert await ledger.purge(at(1)) == PURGE_BATCH + 1
