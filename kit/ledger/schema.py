"""The ledger's tables, for PostgreSQL and SQLite.

Effects: one row per key. Holds: one row per switch that was turned. Times are microseconds since 1970 in UTC, as
integers: exact, comparable, and the same on every database. ``request``, ``result`` and ``shared`` are JSON text, so
that an operator can read and query them.

The description and the migrations in ``kit/ledger/migrations`` say the same; a test compares them.
"""

from __future__ import annotations

import sqlalchemy as sa

from kit.ledger.states import SETTLED_STATES, State

SCHEMA_REVISION = "0002"
"""The revision this version of the kit reads and writes: the newest in ``kit/ledger/migrations``."""

EFFECTS_TABLE = "kit_effects"
HOLDS_TABLE = "kit_holds"
VERSION_TABLE = "kit_schema"
"""Holds the revision; it is alembic's version table under a name that says whose it is."""


def _states(states: frozenset[State]) -> str:
    return "state IN (" + ", ".join(f"'{state.value}'" for state in sorted(states)) + ")"


SETTLED = _states(SETTLED_STATES)
UNSETTLED = _states(frozenset(State) - SETTLED_STATES)
SHARED = "shared IS NOT NULL"
"""SQL conditions. Spelled like the indexes' own, or the databases would not use them."""

metadata = sa.MetaData()

effects = sa.Table(
    EFFECTS_TABLE,
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("saga", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("correlation_id", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lease_until", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_claimed_at", sa.BigInteger, nullable=False),
    sa.Column("unknown_since", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("shared", sa.Text),
    sa.Index("kit_effects_saga", "saga"),
    # The few effects that several sagas rely on.
    sa.Index(
        "kit_effects_shared",
        "key",
        postgresql_where=sa.text(SHARED),
        sqlite_where=sa.text(SHARED),
    ),
    # What a sweeper looks for: few rows in a large table.
    sa.Index(
        "kit_effects_unsettled",
        "updated_at",
        postgresql_where=sa.text(UNSETTLED),
        sqlite_where=sa.text(UNSETTLED),
    ),
    # What `purge` looks for.
    sa.Index(
        "kit_effects_expiry",
        "expires_at",
        postgresql_where=sa.text(SETTLED),
        sqlite_where=sa.text(SETTLED),
    ),
)

holds = sa.Table(
    HOLDS_TABLE,
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("switched_on", sa.Boolean, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger),
    sa.Column("gates", sa.Text, nullable=False),
    sa.Column("accepts", sa.Boolean, nullable=False),
    sa.Column("undo", sa.Boolean, nullable=False),
    # Which switch of a hold was the last.
    sa.Index("kit_holds_latest", "scope", "name", "id"),
)
