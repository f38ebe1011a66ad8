"""A worker process of the shop, to be killed: ``python -m tests.workflows._worker '<json>'``."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.client import Client
from temporalio.worker import Worker

from kit.ledger import SqliteLedger, TransactionalLedger
from kit.worker import ReliabilityPlugin
from tests.harness import ShortAttempts
from tests.workflows.shop import PATIENCE, Addresses, connectors
from workflows.checkout import Checkout


async def main(told: dict[str, Any]) -> None:
    """Work until killed."""
    folder = Path(told["folder"])
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
    async with connectors(Addresses(*told["providers"]), TransactionalLedger(engine)) as served:
        plugin = ReliabilityPlugin(ledger=SqliteLedger(folder / "effects.db"), connectors=served)
        client = await Client.connect(told["address"], plugins=[plugin])
        worker = Worker(
            client,
            task_queue=told["task_queue"],
            workflows=[Checkout],
            max_cached_workflows=1000 if told["cached"] else 0,
            build_id="tests",
            # Whoever takes over is not kept waiting for this process.
            sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=200),
            interceptors=[ShortAttempts(PATIENCE, only=told["impatient"])],
        )
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
