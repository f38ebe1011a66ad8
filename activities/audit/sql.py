"""The audit trail in the service's own database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.audit import contract
from activities.audit.contract import Recorded, RecordEvent
from activities.audit.tables import audit
from kit.contract import Token
from kit.worker.connector import Connector
from kit.worker.context import current_call

if TYPE_CHECKING:
    from kit.ledger import TransactionalLedger


class SqlAudit(Connector):
    """Writes events down, each in one transaction with its ledger row.

    Args:
        database: The database with the table of `activities.audit.tables` and the ledger's own.
    """

    def __init__(self, database: TransactionalLedger) -> None:
        self.database = database

    @contract.record.action
    async def record(self, request: RecordEvent, token: Token, tx: AsyncConnection) -> Recorded:
        """Write the event down, with who recorded it and when."""
        call = current_call.get()
        await tx.execute(
            insert(audit).values(
                id=request.event_id,
                event=request.event,
                subject=request.subject,
                facts=request.facts,
                workflow_id=token.workflow_id,
                correlation_id=token.correlation_id,
                # The server's time, where there is one: a worker's own clock may be wrong.
                recorded_at=datetime.now(UTC) if call is None else call.clock(),
            )
        )
        return Recorded(event_id=request.event_id)
