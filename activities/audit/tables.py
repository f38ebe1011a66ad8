"""The table of the audit trail: rows are added, and never changed or deleted."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, Column, DateTime, MetaData, String, Table, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

metadata: Final = MetaData()

audit: Final = Table(
    "audit",
    metadata,
    Column("id", String(120), primary_key=True, doc="The event's business id."),
    Column("event", String(120), nullable=False),
    Column("subject", String(120), nullable=False, index=True),
    Column("facts", JSON, nullable=False),
    Column("workflow_id", String(255), nullable=False, doc="The run that recorded it."),
    Column("correlation_id", String(255), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
)

_SAYS: Final = "the audit trail is only added to"
_REFUSE: Final = {
    "sqlite": (
        f"CREATE TRIGGER audit_kept_from_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
        f"CREATE TRIGGER audit_kept_from_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_SAYS}'; END $$",
        "CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_kept()",
    ),
}
"""The database itself refuses: a trail that its own service can rewrite proves nothing."""


async def create_tables(engine: AsyncEngine) -> None:
    """Create what is missing, and what keeps it from being changed."""
    async with engine.begin() as tx:
        if await tx.run_sync(lambda connection: inspect(connection).has_table(audit.name)):
            return
        await tx.run_sync(metadata.create_all)
        for statement in _REFUSE[engine.dialect.name]:
            await tx.exec_driver_sql(statement)


async def trail(engine: AsyncEngine, subject: str) -> list[dict[str, Any]]:
    """What is written down about a subject, oldest first."""
    wanted = select(audit).where(audit.c.subject == subject).order_by(audit.c.recorded_at, audit.c.id)
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(wanted)).mappings()]
