"""The estate as operators' commands reach it: where it is, the test says in the environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client

from kit.ledger import SqliteLedger
from kit.operate import Operating
from kit.worker import ReliabilityPlugin
from workflows.reconciliation import Reconcile

ADDRESS = "ESTATE_ADDRESS"
LEDGER = "ESTATE_LEDGER"
QUEUE = "ESTATE_QUEUE"

WORKFLOWS = (Reconcile,)

PROJECT = """
[tool.kit]
app = "tests.reconciliation.service:app"
workflows = "tests.reconciliation.service:WORKFLOWS"
"""


class App:
    """Lets operators in."""

    async def work(self) -> int:
        """The test has a worker."""
        return 0

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Operating]:
        """A client of the test's server, and the estate's ledger."""
        async with SqliteLedger(os.environ[LEDGER]) as ledger:
            client = await Client.connect(os.environ[ADDRESS], plugins=[ReliabilityPlugin()])
            yield Operating(client=client, ledger=ledger, task_queue=os.environ[QUEUE])


app = App()
