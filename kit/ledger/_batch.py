"""The two statements a PostgreSQL batch needs: any number of new rows and of changed rows in one round trip.

The rows travel as one array per column. Both lists are sorted by key, so two processes that write the same keys take
their row locks in the same order and do not deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.ledger._rows import CHANGING, COLUMNS, POSTGRES
from kit.ledger.schema import EFFECTS_TABLE, effects

_SEEN = ("seen_key", "seen_revision", "seen_owner")
_SEEN_TYPES = ("text", "bigint", "text")


def _type(column: str) -> str:
    return str(effects.c[column].type).lower()


def _arrays(types: Sequence[str], first: int) -> str:
    return ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types, first))


def _insert(first: int) -> str:
    arrays = _arrays([_type(name) for name in COLUMNS], first)
    return (  # only names and parameter marks of this package
        f"INSERT INTO {EFFECTS_TABLE} ({', '.join(COLUMNS)}) SELECT * FROM unnest({arrays}) "  # noqa: S608
        "ON CONFLICT (key) DO NOTHING RETURNING key"
    )


def _update(first: int) -> str:
    arrays = _arrays([*(_type(name) for name in CHANGING), *_SEEN_TYPES], first)
    changes = ", ".join(f"{name} = new.{name}" for name in CHANGING)
    return (
        f"UPDATE {EFFECTS_TABLE} AS old SET {changes} "  # noqa: S608 - as above
        f"FROM unnest({arrays}) AS new({', '.join((*CHANGING, *_SEEN))}) "
        "WHERE old.key = new.seen_key AND old.revision = new.seen_revision AND old.owner = new.seen_owner "
        "RETURNING old.key"
    )


INSERT_ONE = POSTGRES.insert + " RETURNING key"
UPDATE_ONE = POSTGRES.update + " RETURNING key"
INSERT_MANY = _insert(1)
UPDATE_MANY = _update(1)
WRITE_MANY = (
    f"WITH added AS ({_insert(1)}), changed AS ({_update(len(COLUMNS) + 1)}) "  # noqa: S608 - as above
    "SELECT key FROM added UNION ALL SELECT key FROM changed"
)
"""Each returns the keys it wrote; a key that is missing lost its race."""


def transposed(rows: Sequence[tuple[Any, ...]], *, key: int) -> list[list[Any]]:
    """One list per column, the rows ordered by the column at ``key``."""
    return [list(column) for column in zip(*sorted(rows, key=lambda row: row[key]), strict=True)]
