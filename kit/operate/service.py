"""What an operator's command works on."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import Client

from kit.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """One service as its operators reach it: its cluster, its ledger, the queue of its workers.

    A service's app gives it, opened, with ``operating()``; whoever asked closes it again.

    Attributes:
        client: Of the cluster, with the kit's plugin: it speaks the service's types.
        ledger: The durable record of every effect, opened.
        task_queue: Where the service's workers take their tasks from, and so what is started for it goes to.
    """

    client: Client
    ledger: Ledger
    task_queue: str
