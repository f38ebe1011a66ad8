"""The ledger beside bare statements on the same database, table, columns and durability.

An *effect* is what the ledger does for one activity: a claim and a completion, two durable commits. *Bare* is the same
two statements, an INSERT and an UPDATE of the same row, each committed by itself, with nobody asking what may happen
next. *Bare insert* is half of that: one INSERT and its commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg

from kit.ledger import ClaimAction, Claimed, Complete, Entry, Ledger, PostgresLedger, SqliteLedger, State
from tests.benchmarks.postgres import postgres
from tests.benchmarks.report import Spread, Table, Target

ONE: Final = 1
MANY: Final = 64

INSERT: Final = (
    "INSERT INTO kit_effects (key, fingerprint, operation, version, state, saga, run_id, step, correlation_id, "
    "request, owner, lease_until, attempts, first_claimed_at, updated_at, expires_at, revision) VALUES ({marks})"
)
UPDATE: Final = (
    "UPDATE kit_effects SET state = {0}, result = {1}, lease_until = NULL, updated_at = {2}, revision = {3} "
    "WHERE key = {4}"
)
COLUMNS: Final = 17

REQUEST: Final = '{"order_id":"o-123456","amount":4200,"currency":"eur"}'
RESULT: Final = '{"payment_id":"p-123456","status":"captured"}'
FINGERPRINT: Final = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, and seconds for each line in each round."""

    rounds: int
    seconds: float


FULL: Final = Size(rounds=15, seconds=0.5)
QUICK: Final = Size(rounds=1, seconds=0.1)

KIT: Final = "kit"
BARE: Final = "bare"
BARE_INSERT: Final = "bare insert"

Line = tuple[str, int]
"""What, and by how many callers."""

Unit = Callable[[int], Awaitable[None]]
"""One effect, or one insert; takes its number."""

_numbers: Final = count()
_run: Final = uuid.uuid4().hex


async def _rate(units: Sequence[Unit], seconds: float) -> float:
    """Units per second, each of ``units`` being one caller that does one after the other."""
    until = time.perf_counter() + seconds
    done = 0

    async def caller(unit: Unit) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await unit(next(_numbers))
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(caller, units))
    return done / (time.perf_counter() - began)


def _by(ledger: Ledger) -> Unit:
    """What the guard asks of a ledger for one activity."""

    async def effect(number: int) -> None:
        now = datetime.now(UTC)
        entry = Entry(
            key=f"capture:{_run}-{number}",
            fingerprint=FINGERPRINT,
            operation="payments.capture",
            version=1,
            state=State.CLAIMED,
            saga=f"checkout-{number}",
            run_id=_run,
            step=1,
            correlation_id=f"checkout-{number}",
            request=REQUEST.encode(),
            owner=f"{_run}/{number}",
            lease_until=now + timedelta(seconds=10),
            first_claimed_at=now,
            updated_at=now,
            expires_at=now + timedelta(days=90),
        )
        verdict = await ledger.apply(ClaimAction(entry=entry, now=now))
        if not isinstance(verdict, Claimed):
            raise TypeError(f"a fresh key was answered with {verdict!r}")
        command = Complete(key=entry.key, owner=entry.owner, result=RESULT.encode(), now=now)
        await ledger.apply(command, expected=verdict.entry)

    return effect


def _inserted(number: int) -> tuple[Any, ...]:
    now = time.time_ns() // 1000
    return (
        f"capture:{_run}-{number}",
        FINGERPRINT,
        "payments.capture",
        1,
        "claimed",
        f"checkout-{number}",
        _run,
        1,
        f"checkout-{number}",
        REQUEST,
        f"{_run}/{number}",
        now + 10_000_000,
        1,
        now,
        now,
        now + 7_776_000_000_000,
        1,
    )


def _updated(number: int) -> tuple[Any, ...]:
    return ("done", RESULT, time.time_ns() // 1000, 2, f"capture:{_run}-{number}")


def _bare_sqlite(path: Path, seconds: float, *, update: bool) -> float:
    """Units per second of a plain loop, without an event loop or threads."""
    insert = INSERT.format(marks=", ".join("?" * COLUMNS))
    change = UPDATE.format(*"?????")
    connection = sqlite3.connect(path, isolation_level=None)  # each statement commits by itself
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            number = next(_numbers)
            connection.execute(insert, _inserted(number))
            if update:
                connection.execute(change, _updated(number))
            done += 1
        return done / (time.perf_counter() - began)
    finally:
        connection.close()


async def _bare_postgres(connection: asyncpg.Connection[Any], *, update: bool) -> Unit:
    """One caller with a connection and prepared statements of its own."""
    inserting = await connection.prepare(INSERT.format(marks=", ".join(f"${n + 1}" for n in range(COLUMNS))))
    changing = await connection.prepare(UPDATE.format("$1", "$2", "$3", "$4", "$5"))

    async def unit(number: int) -> None:
        await inserting.fetch(*_inserted(number))
        if update:
            await changing.fetch(*_updated(number))

    return unit


Measure = Callable[[], Awaitable[float]]


@asynccontextmanager
async def _sqlite(seconds: float) -> AsyncIterator[dict[Line, Measure]]:
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        path = Path(folder) / "ledger.db"
        async with SqliteLedger(path) as ledger:  # makes the schema, also for the bare statements

            async def bare(update: bool) -> float:
                return _bare_sqlite(path, seconds, update=update)

            yield {
                (KIT, ONE): lambda: _rate([_by(ledger)], seconds),
                (BARE, ONE): lambda: bare(update=True),
                (BARE_INSERT, ONE): lambda: bare(update=False),
                (KIT, MANY): lambda: _rate([_by(ledger)] * MANY, seconds),
            }


@asynccontextmanager
async def _postgres(url: str, seconds: float) -> AsyncIterator[dict[Line, Measure]]:
    async with PostgresLedger(url) as ledger, AsyncExitStack() as stack:
        units: dict[str, list[Unit]] = {BARE: [], BARE_INSERT: []}
        for _ in range(MANY):
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close)
            for name, found in units.items():
                found.append(await _bare_postgres(connection, update=name == BARE))
        yield {
            (KIT, ONE): lambda: _rate([_by(ledger)], seconds),
            (BARE, ONE): lambda: _rate(units[BARE][:ONE], seconds),
            (BARE_INSERT, ONE): lambda: _rate(units[BARE_INSERT][:ONE], seconds),
            (KIT, MANY): lambda: _rate([_by(ledger)] * MANY, seconds),
            (BARE, MANY): lambda: _rate(units[BARE], seconds),
            (BARE_INSERT, MANY): lambda: _rate(units[BARE_INSERT], seconds),
        }


async def _rounds(measures: dict[Line, Measure], rounds: int) -> list[dict[Line, float]]:
    """Every line once per round, forwards and backwards in turns: what disturbs the machine disturbs all alike."""
    await measures[KIT, ONE]()  # warm
    found = []
    for number in range(rounds):
        lines = list(measures)
        rates = {line: await measures[line]() for line in (lines if number % 2 == 0 else reversed(lines))}
        found.append({line: rates[line] for line in lines})
    return found


async def run(size: Size) -> tuple[Table, list[Target], dict[str, Any]]:
    """Measure and compare."""
    async with _sqlite(size.seconds) as measures:
        sqlite = await _rounds(measures, size.rounds)
    async with postgres() as url, _postgres(url, size.seconds) as measures:
        postgresql = await _rounds(measures, size.rounds)
    # A SQLite file has one writer: 64 callers of the bare loop would be the same loop, waiting for each other.
    against = {"SQLite": {ONE: ONE, MANY: ONE}, "PostgreSQL": {ONE: ONE, MANY: MANY}}
    found = {"SQLite": sqlite, "PostgreSQL": postgresql}
    lines: list[list[str]] = []
    ratios: dict[tuple[str, int, str], Spread] = {}
    for database, rounds in found.items():
        for name, callers in rounds[0]:
            line = [f"{database}, {name}", str(callers), str(Spread.of([r[name, callers] for r in rounds]))]
            for other in (BARE, BARE_INSERT):
                ratio = Spread.of([r[name, callers] / r[other, against[database][callers]] for r in rounds])
                ratios[database, callers, other] = ratio if name == KIT else ratios[database, callers, other]
                line.append(str(ratio) if name == KIT else "")
            lines.append(line)
    table = Table(
        "Ledger: effects per second",
        [
            "An effect is a claim and a completion: two durable commits (SQLite: WAL and synchronous=FULL; "
            "PostgreSQL: its defaults).",
            "bare: the same INSERT and UPDATE of the same row, each committed by itself; on PostgreSQL by as many "
            "connections as callers.",
            "bare insert: half of it, one INSERT and its commit. On SQLite 64 callers are compared with the one loop.",
            f"Median (least-most) of {size.rounds} rounds of {size.seconds} s for each line, in turns; "
            "ratios are taken in each round.",
        ],
        ["", "callers", "per second", "/ bare", "/ bare insert"],
        lines,
    )
    wanted = [
        ("SQLite", MANY, 3.0, "a loop of one commit per statement"),
        ("PostgreSQL", MANY, 0.8, "bare single-row commits"),
        ("SQLite", ONE, 0.5, "a loop of one commit per statement"),
        ("PostgreSQL", ONE, 0.5, "bare single-row commits"),
    ]
    targets = [
        Target(
            f"ledger, {database}, {callers} caller{'s' if callers > 1 else ''} / {what}",
            f">= {least}",
            f"{ratios[database, callers, BARE].median:.2f}",
            ratios[database, callers, BARE].median >= least,
        )
        for database, callers, least, what in wanted
    ]
    data = {
        "size": asdict(size),
        "effects_per_second": {
            database: {
                f"{name}, {callers}": asdict(Spread.of([r[name, callers] for r in rounds]))
                for name, callers in rounds[0]
            }
            for database, rounds in found.items()
        },
        "ratios": {
            f"{database}, {callers}, kit / {other}": asdict(spread)
            for (database, callers, other), spread in ratios.items()
        },
    }
    return table, targets, data
