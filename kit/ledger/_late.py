"""What of `kit.ledger` needs a SQL library: it is loaded when somebody asks for it by its name (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_WHERE: Final = {
    "PostgresLedger": "postgres",
    "SqlHolds": "sql_holds",
    "SqlLedger": "factory",
    "SqliteLedger": "sqlite",
    "TransactionalLedger": "transactional",
    "current_revision": "migrating",
    "migrate": "migrating",
    "migration_sql": "migrating",
}


def __getattr__(name: str) -> Any:
    """The object of this name.

    Raises:
        AttributeError: There is none.
    """
    if name not in _WHERE:
        raise AttributeError(f"module 'kit.ledger' has no attribute {name!r}", name=name)
    return getattr(import_module(f"kit.ledger.{_WHERE[name]}"), name)
