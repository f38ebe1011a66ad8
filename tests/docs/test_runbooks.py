"""The runbooks, followed from top to bottom: every command is typed into the real command line of a service at work."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.orders.tables import open_cart
from kit.cli.main import run
from kit.ledger import MemoryLedger
from kit.operate import open_tasks
from kit.testing.sandbox import EffectKind, Sandbox, violations
from kit.worker import ReliabilityPlugin
from temporal.app import App
from tests.docs.pages import ROOT, blocks
from tests.docs.service import write_service
from tests.harness import running
from tests.telemetry.world import Gift, Order, Shop
from tests.workflows.shop import checkout_of
from workflows.checkout import Checkout
from workflows.reconciliation import Reconcile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

BAD_RELEASE = ROOT / "docs/runbooks/bad-release.md"
DEAD_LETTERS = ROOT / "docs/runbooks/dead-letters.md"
QUEUE = "runbooks"
ORDERS = ("R-1", "R-2", "R-3")

PROJECT = """
[tool.kit]
app = "{name}:app"
workflows = "temporal.app:WORKFLOWS"
connectors = "temporal.app:CONNECTORS"
"""


class Operator:
    """Follows a runbook: types its commands one after the other."""

    def __init__(self, page: Path, screen: pytest.CaptureFixture[str]) -> None:
        self._commands = [shlex.split(block.text) for block in blocks(page) if block.language == "sh"]
        self._screen = screen
        self.typed: list[tuple[int, str]] = []

    async def next(self, *start: str) -> str:
        """Type the next command, which begins so. Returns what it printed."""
        words = self._commands.pop(0)
        assert words[: len(start) + 1] == ["kit", *start]
        self._screen.readouterr()
        code = await asyncio.to_thread(run, words[1:])
        printed = "".join(self._screen.readouterr())
        self.typed.append((code, printed))
        return printed

    @property
    def codes(self) -> list[int]:
        """The exit codes."""
        return [code for code, _ in self.typed]

    @property
    def done(self) -> bool:
        """Whether the page has no further command."""
        return not self._commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the service, where its operators type."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


async def test_dead_letters_are_emptied(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Grouped, understood, tried once, then all; the rest by hand; then nothing waits."""
    operator = Operator(DEAD_LETTERS, capsys)
    config, shop = server.client.config(), Shop()
    config["plugins"] = [ReliabilityPlugin(ledger=MemoryLedger(), connectors=[shop])]
    client = Client(**config)
    write_service(folder, address=client.service_client.config.target_host, queue=QUEUE)
    async with Worker(client, task_queue=QUEUE, workflows=[Gift], build_id="tests"):
        group = await _parked(client, "gift-1", "gift-2")
        groups = await operator.next("tasks", "list")
        shown = await operator.next("tasks", "show")
        shop.generous = True
        counted = await operator.next("tasks", "decide", "retry")
        tried = await operator.next("tasks", "decide", "retry")
        for each in group:
            await each.result()
        shop.generous = False
        by_hand = await _parked(client, "gift-3", "gift-4")
        await operator.next("tasks", "decide", "supply")
        await operator.next("tasks", "decide", "skip")
        for each in by_hand:
            await each.result()
        await _tasks(client, 0)
        await operator.next("tasks", "list")

    assert operator.done
    assert operator.codes == [0] * 7
    assert "shop.pay:action:declined" in groups
    assert "Task 1-1 (repair, open)" in shown
    assert "Nothing has been decided" in counted
    assert "2 of 2 decided." in tried


async def _parked(client: Client, *names: str) -> list[WorkflowHandle[Gift, None]]:
    handles = []
    for name in names:
        order = Order(order_id=name, decline=True)
        handles.append(await client.start_workflow(Gift.run, order, id=name, task_queue=QUEUE))
    await _tasks(client, len(names))
    return handles


async def _tasks(client: Client, number: int) -> None:
    """Wait until visibility, which is a moment late, knows of so many open tasks."""
    for _ in range(400):
        if len(await open_tasks(client, query=f"TaskQueue = '{QUEUE}'")) == number:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{number} tasks were never to be seen")


async def test_bad_release_is_reversed(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Contained, restored, unwound, reconciled, verified: no charge is left, and the incident is closed."""
    operator = Operator(BAD_RELEASE, capsys)
    where: dict[str, Any] = {"task_queue": QUEUE, "workflow_runner": UnsandboxedWorkflowRunner()}
    async with _shop(folder, server) as (sandbox, plugin):
        async with running(server, plugin, [Checkout], build_id="42", **where) as bad:
            handles = [
                await bad.start(
                    Checkout.run, checkout_of(order_id=order, cart_id=f"cart-{order}", quantity=1), id=f"order-{order}"
                )
                for order in ORDERS
            ]
            await asyncio.gather(*(handle.result() for handle in handles))
        async with running(server, plugin, [Checkout, Reconcile], build_id="41", **where) as good:
            await operator.next("incident", "open")
            held = await operator.next("hold", "list")
            await operator.next("incident", "advance")
            await operator.next("hold", "off")
            await operator.next("incident", "note")
            await _closed(good.client, len(ORDERS))
            looked = await operator.next("unwind")
            unwound = await operator.next("unwind")
            await _tasks(good.client, 2 * len(ORDERS))
            groups = await operator.next("tasks", "list")
            for _ in range(2):
                await operator.next("tasks", "decide", "skip")
            for order in ORDERS:
                await good.client.get_workflow_handle(f"unwind:order-{order}").result()
            await _tasks(good.client, 0)
            for _ in range(2):
                await operator.next("incident", "advance")
            closed = await operator.next("incident", "close")
            await operator.next("incident", "status")
        effects = await sandbox.control.effects()

    assert operator.done
    assert operator.codes == [0] * 6 + [1] + [0] * 7, operator.typed
    assert "payments.capture" in held
    assert "3 runs: 15 effects would be undone, 6 put to a person" in looked
    assert "3 runs: 3 parked" in unwound
    assert "email.send_receipt:undo:invalid" in groups
    assert "closed" in closed
    assert violations(effects) == ()
    live = Counter(effect.kind for effect in effects if effect.live)
    assert live == {EffectKind.DELIVERED: len(ORDERS), EffectKind.SENT: len(ORDERS)}
    assert (folder / "unwind.md").exists()


@asynccontextmanager
async def _shop(folder: Path, server: WorkflowEnvironment) -> AsyncIterator[tuple[Sandbox, ReliabilityPlugin]]:
    """The reference service on sandbox providers, for workers and, in a folder, for operators."""
    async with Sandbox.start() as sandbox:
        environment = {
            "TEMPORAL_ADDRESS": server.client.service_client.config.target_host,
            "CHECKOUT_TASK_QUEUE": QUEUE,
            "CHECKOUT_LEDGER_URL": f"sqlite:///{folder / 'effects.db'}",
            "CHECKOUT_SHOP_URL": f"sqlite+aiosqlite:///{folder / 'shop.db'}",
            "CHECKOUT_PAYMENTS_URL": sandbox.url,
            "CHECKOUT_PAYMENTS_KEY": "sk_test_sandbox",
            "CHECKOUT_STOCK_URL": sandbox.url,
            "CHECKOUT_FULFILMENT_URL": sandbox.webhook_url,
            "CHECKOUT_FULFILMENT_SECRET": sandbox.webhook_secret,
            "CHECKOUT_SMTP_HOST": sandbox.smtp_host,
            "CHECKOUT_SMTP_PORT": str(sandbox.smtp_port),
            "CHECKOUT_CRM_URL": sandbox.url,
            "CHECKOUT_TICKETS_URL": sandbox.url,
            "CHECKOUT_ENTITLEMENTS_URL": sandbox.url,
        }
        (folder / "pyproject.toml").write_text(PROJECT.format(name=folder.name), encoding="utf-8")
        code = f"from temporal.app import App\n\napp = App({environment!r})\n"
        (folder / f"{folder.name}.py").write_text(code, encoding="utf-8")
        app = App(environment)
        async with app.connectors() as connectors:
            shop = create_async_engine(app.settings.shop_url)
            for order in ORDERS:
                await open_cart(shop, f"cart-{order}")
            await shop.dispose()
            yield sandbox, ReliabilityPlugin(ledger=app.ledger, connectors=connectors)


async def _closed(client: Client, number: int) -> None:
    """Wait until visibility knows that the runs of the bad build are closed."""
    query = "WorkflowType = 'Checkout' AND BuildIds = 'unversioned:42' AND ExecutionStatus = 'Completed'"
    for _ in range(400):
        if (await client.count_workflows(query)).count >= number:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{number} closed runs were never to be seen")
