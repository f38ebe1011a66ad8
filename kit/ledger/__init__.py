"""The durable record of every effect: what may happen next is decided here, and nowhere else.

`Ledger` is the promise and `decide` the rules; the other ledgers differ in where they keep the rows. What needs a SQL
library is loaded when it is asked for: a guard does without it, and so do most commands.
"""

from typing import TYPE_CHECKING

from kit.ledger.holds import HoldStore, KeepsHolds, MemoryHolds, Switch, holds_of
from kit.ledger.memory import MemoryLedger
from kit.ledger.protocol import Ledger
from kit.ledger.rules import decide
from kit.ledger.states import (
    REASON_AFTER_UNDO,
    REASON_KEY_REUSED,
    SETTLED_STATES,
    Busy,
    ClaimAction,
    Claimed,
    ClaimUndo,
    Command,
    Complete,
    Decide,
    Doubt,
    Entry,
    Lost,
    Recorded,
    Rejected,
    Release,
    ReleaseUndo,
    Settled,
    Share,
    State,
    Undone,
    Verdict,
)

if TYPE_CHECKING:
    from kit.ledger.factory import SqlLedger
    from kit.ledger.migrating import current_revision, migrate, migration_sql
    from kit.ledger.postgres import PostgresLedger
    from kit.ledger.sql_holds import SqlHolds
    from kit.ledger.sqlite import SqliteLedger
    from kit.ledger.transactional import TransactionalLedger
else:
    from kit.ledger._late import __getattr__ as __getattr__

__all__ = [
    "REASON_AFTER_UNDO",
    "REASON_KEY_REUSED",
    "SETTLED_STATES",
    "Busy",
    "ClaimAction",
    "ClaimUndo",
    "Claimed",
    "Command",
    "Complete",
    "Decide",
    "Doubt",
    "Entry",
    "HoldStore",
    "KeepsHolds",
    "Ledger",
    "Lost",
    "MemoryHolds",
    "MemoryLedger",
    "PostgresLedger",
    "Recorded",
    "Rejected",
    "Release",
    "ReleaseUndo",
    "Settled",
    "Share",
    "SqlHolds",
    "SqlLedger",
    "SqliteLedger",
    "State",
    "Switch",
    "TransactionalLedger",
    "Undone",
    "Verdict",
    "current_revision",
    "decide",
    "holds_of",
    "migrate",
    "migration_sql",
]
