"""Between `Entry` and a row of ``kit_effects``, and the constant statements of the hot path.

Written by hand and once per dialect: the drivers keep them prepared, and nothing is compiled per call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kit.ledger.schema import EFFECTS_TABLE, SETTLED, SHARED, effects
from kit.ledger.states import Entry, Share, State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS = tuple(column.name for column in effects.columns)
CHANGING = (
    "saga",
    "run_id",
    "step",
    "correlation_id",
    "state",
    "result",
    "owner",
    "lease_until",
    "attempts",
    "unknown_since",
    "reason",
    "updated_at",
    "expires_at",
    "revision",
    "shared",
)
"""What a later command may change. The rest is said by the first claim and stays."""

PURGE_BATCH = 1000
"""Rows deleted per transaction, so that a purge never keeps the writers waiting for long."""


def to_micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970. Exact; a naive datetime raises `TypeError`."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int | None) -> datetime | None:
    """The instant, aware and in UTC."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def insert_row(entry: Entry) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    return (
        entry.key,
        entry.fingerprint,
        entry.operation,
        entry.version,
        entry.state.value,
        entry.saga,
        entry.run_id,
        entry.step,
        entry.correlation_id,
        entry.request.decode(),
        None if entry.result is None else entry.result.decode(),
        entry.owner,
        to_micros(entry.lease_until),
        entry.attempts,
        to_micros(entry.first_claimed_at),
        to_micros(entry.unknown_since),
        entry.reason,
        to_micros(entry.updated_at),
        to_micros(entry.expires_at),
        entry.revision,
        _shares(entry),
    )


def update_row(entry: Entry, seen: Entry) -> tuple[Any, ...]:
    """The values of `CHANGING`, then key, revision and owner of the row as it was ``seen``."""
    return (
        entry.saga,
        entry.run_id,
        entry.step,
        entry.correlation_id,
        entry.state.value,
        None if entry.result is None else entry.result.decode(),
        entry.owner,
        to_micros(entry.lease_until),
        entry.attempts,
        to_micros(entry.unknown_since),
        entry.reason,
        to_micros(entry.updated_at),
        to_micros(entry.expires_at),
        entry.revision,
        _shares(entry),
        seen.key,
        seen.revision,
        seen.owner,
    )


def entry_of(row: Any) -> Entry:
    """The entry of one row, a tuple or a driver's own record, selected by `Statements.select`."""
    (key, fingerprint, operation, version, state, saga, run_id, step, correlation_id) = row[:9]
    (request, result, owner, lease, attempts, first, unknown, reason, updated, expires, revision, shared) = row[9:]
    return Entry(
        key=key,
        fingerprint=fingerprint,
        operation=operation,
        version=version,
        state=State(state),
        saga=saga,
        run_id=run_id,
        step=step,
        correlation_id=correlation_id,
        request=request.encode(),
        result=None if result is None else result.encode(),
        owner=owner,
        lease_until=from_micros(lease),
        attempts=attempts,
        first_claimed_at=_EPOCH + timedelta(microseconds=first),
        unknown_since=from_micros(unknown),
        reason=reason,
        updated_at=_EPOCH + timedelta(microseconds=updated),
        expires_at=from_micros(expires),
        revision=revision,
        shared=() if shared is None else tuple(Share(**share) for share in json.loads(shared)),
    )


def _shares(entry: Entry) -> str | None:
    return json.dumps([asdict(share) for share in entry.shared]) if entry.shared else None


def of_saga_row(saga: str) -> tuple[str, str]:
    """What `Statements.of_saga` takes: a saga, and what stands in the text of a row that it shares."""
    return saga, json.dumps(saga)


def page_row(prefix: str, after: str, limit: int) -> tuple[str, str, int]:
    """What `Statements.page` takes: the bounds of the keys, by code points, and how many are wanted."""
    return max(prefix, after), prefix + "\U0010ffff", limit


def entries_of(saga: str, rows: Iterable[Any]) -> list[Entry]:
    """The entries of the rows that are a saga's, by step, then key."""
    entries = [entry for entry in map(entry_of, rows) if saga in entry.sagas]
    return sorted(entries, key=lambda entry: (entry.step_of(saga), entry.key))


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of one dialect.

    Attributes:
        insert: Takes `insert_row`; writes nothing when the key exists.
        update: Takes `update_row`; writes nothing when the row is not as it was seen. The owner is compared
            beside the revision because revisions start again when a purged key is claimed anew.
        select: Takes a key.
        lock: The same, and holds the row until the end of the transaction.
        of_saga: Takes `of_saga_row`; may give rows too many, so read with `entries_of`.
        purge: Takes microseconds; deletes at most `PURGE_BATCH` rows.
        page: Takes `page_row`.
    """

    insert: str
    update: str
    select: str
    lock: str
    of_saga: str
    purge: str
    page: str


def statements(mark: Callable[[int], str], *, lock: str, place: str, by_code_point: str) -> Statements:
    """The statements in a dialect whose n-th parameter is written ``mark(n)``.

    ``place`` finds a text in another, ``by_code_point`` compares keys as Python does.
    """
    columns = ", ".join(COLUMNS)
    marks = ", ".join(mark(n) for n in range(1, len(COLUMNS) + 1))
    changes = ", ".join(f"{name} = {mark(n)}" for n, name in enumerate(CHANGING, 1))
    key, revision, owner = (mark(len(CHANGING) + n) for n in (1, 2, 3))
    # Only names of this module and parameter marks go into the text: nothing a caller could choose.
    table, one = EFFECTS_TABLE, mark(1)
    ordered = f"key {by_code_point}".rstrip()
    select = f"SELECT {columns} FROM {table} WHERE key = {one}"  # noqa: S608 - see above
    unchanged = f"key = {key} AND revision = {revision} AND owner = {owner}"
    return Statements(
        insert=f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT (key) DO NOTHING",  # noqa: S608
        update=f"UPDATE {table} SET {changes} WHERE {unchanged}",  # noqa: S608
        select=select,
        lock=select + lock,
        of_saga=f"SELECT {columns} FROM {table} WHERE saga = {one} "  # noqa: S608
        f"OR ({SHARED} AND {place}(shared, {mark(2)}) > 0)",
        purge=f"DELETE FROM {table} WHERE key IN "  # noqa: S608
        f"(SELECT key FROM {table} WHERE {SETTLED} AND expires_at <= {one} LIMIT {PURGE_BATCH})",
        page=f"SELECT {columns} FROM {table} WHERE {ordered} > {one} AND {ordered} < {mark(2)} "  # noqa: S608
        f"ORDER BY {ordered} LIMIT {mark(3)}",
    )


SQLITE = statements(lambda _: "?", lock="", place="instr", by_code_point="")
POSTGRES = statements(lambda n: f"${n}", lock=" FOR UPDATE", place="strpos", by_code_point='COLLATE "C"')
