"""The README's example, run against the sandbox's providers."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.inventory.http import HttpInventory
from activities.payments.stripe import StripePayments
from kit.ledger import MemoryLedger
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker import ReliabilityPlugin, http_client
from kit.workflow import COMPENSATED
from tests.docs.pages import ROOT, blocks
from tests.harness import Running, running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

MODULE = "readme_example"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The workflow of the example, in a module of its own: the sandbox imports it again."""
    block = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    (tmp_path / f"{MODULE}.py").write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return importlib.import_module(MODULE).BuyBook


@asynccontextmanager
async def _shop(server: WorkflowEnvironment, example: Any, *, cached: bool) -> AsyncIterator[tuple[Sandbox, Running]]:
    async with (
        Sandbox.start() as sandbox,
        http_client(sandbox.url, headers={"Authorization": "Bearer sk_test_sandbox"}) as payments,
        http_client(sandbox.url) as stock,
    ):
        plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[StripePayments(payments), HttpInventory(stock)])
        async with running(server, plugin, [example], cached=cached) as worker:
            yield sandbox, worker


async def test_the_example_buys_a_book(server: WorkflowEnvironment, cached: bool, example: Any) -> None:
    """What the example promises happens: a reservation, and money taken once."""
    async with _shop(server, example, cached=cached) as (sandbox, worker):
        handle = await worker.start(example.run, "ORDER-1")
        await handle.result()
        live = Counter(effect.kind for effect in await sandbox.control.effects() if effect.live)

    assert live == {EffectKind.RESERVED: 1, EffectKind.CAPTURED: 1}


async def test_the_example_releases_the_stock_of_a_declined_card(
    server: WorkflowEnvironment, cached: bool, example: Any
) -> None:
    """The comment is true: declined, and nothing is left."""
    async with _shop(server, example, cached=cached) as (sandbox, worker):
        await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.REFUSE)
        handle = await worker.start(example.run, "ORDER-1")
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        effects = await sandbox.control.effects()

    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == COMPENSATED
    assert EffectKind.RESERVED in {effect.kind for effect in effects}
    assert [effect for effect in effects if effect.live] == []
