"""The code and the commands of "Take webhooks, keep entities in step", run as they are on the page."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any, Final

import httpx
import pytest
from standardwebhooks import Webhook
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from uvicorn.importer import import_from_string

from kit import Entity, EntityEvent
from kit.ledger import MemoryLedger
from kit.operate.intake import LARGEST, Answer
from kit.operate.signatures import TOLERANCE
from kit.worker import ReliabilityPlugin
from kit.workflow import APPLY_UPDATE, ENTITY_QUERY, Receipt
from kit.workflow.entity import DEFAULT_WINDOW
from tests.docs.pages import ROOT, blocks, plain, rows, section
from tests.harness import running

PAGE: Final = ROOT / "docs/how-to/webhooks-and-entities.md"
ENVIRONMENT: Final = {
    "CHECKOUT_PAYMENTS_KEY": "sk_test_1",
    "CHECKOUT_STOCK_URL": "http://stock",
    "CHECKOUT_FULFILMENT_URL": "http://partner",
    "CHECKOUT_SMTP_HOST": "mail",
    "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "TEMPORAL_CONFIG_FILE": os.devnull,
}


def secret(word: str) -> str:
    """A secret that is told apart by its word."""
    return "whsec_" + b64encode(word.encode().ljust(32, b".")).decode()


NEW: Final = secret("new")
OLD: Final = secret("old")


@pytest.fixture
def webhooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's modules, in files of their own: the sandbox imports them again."""
    for block in blocks(PAGE):
        if block.language == "python":
            name = block.text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block.text, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("webhooks")


async def deliver(
    app: Any, path: str, body: dict[str, Any], *, signed: str, id: str = "evt_1", age: timedelta = timedelta(0)
) -> tuple[int, str]:
    """What a sender is answered."""
    at, content = datetime.now(UTC) - age, json.dumps(body)
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(signed).sign(id, at, content),
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as sender:
        reply = await sender.post(f"http://intake.test{path}", content=content, headers=headers)
    return reply.status_code, reply.json()["status"]


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_code_of_the_page_does_what_the_page_says(server: WorkflowEnvironment, webhooks: Any) -> None:
    """An event that comes again is one change, a lower version is stale, a stranger's word is drift."""
    async with running(server, ReliabilityPlugin(ledger=MemoryLedger()), [webhooks.AccountSync]) as worker:
        app = webhooks.application(
            worker.client, {"crm": secret("crm"), "billing": f"{NEW},{OLD}"}, task_queue=worker.task_queue
        )
        account_id = worker.task_queue

        async def tell(source: str, id: str, version: int, signed: str, **fields: str) -> tuple[int, str]:
            body = {"account_id": account_id, "version": version, "fields": fields}
            return await deliver(app, f"/webhooks/{source}", body, signed=signed, id=id)

        entity = worker.client.get_workflow_handle(f"account-{account_id}")

        async def dealt_with(source: str, id: str, version: int) -> None:  # sends it again, which is counted
            event = EntityEvent[Any](id=id, source=source, version=version, data=webhooks.Change(fields={}))
            await entity.execute_update(APPLY_UPDATE, event, result_type=Receipt)

        answers = [await tell("billing", "b2", 2, OLD, plan="pro")]
        await dealt_with("billing", "b2", 2)
        answers += [
            await tell("billing", "b2", 2, NEW, plan="pro"),
            await tell("billing", "b1", 1, NEW, plan="none"),
            await tell("crm", "c1", 1, secret("crm"), plan="enterprise", name="Acme"),
            await tell("crm", "c2", 2, NEW, name="Somebody else"),
        ]
        await dealt_with("crm", "c1", 1)
        found: Entity[Any] = await entity.query(ENTITY_QUERY, result_type=Entity[webhooks.Account])
        await entity.cancel()

    assert answers == [(200, "accepted")] * 4 + [(401, "bad_signature")]
    assert {name: known.value for name, known in found.state.known.items()} == {"plan": "pro", "name": "Acme"}
    assert found.memory.counts == {"applied": 2, "duplicate": 3, "stale": 1}
    assert [(drift.field, drift.writer, drift.offered) for drift in found.memory.drift] == [
        ("plan", "crm", "enterprise")
    ]


async def test_commands_of_the_page_start_an_intake_that_believes_both_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command serves an application; both secrets are believed, and without Temporal it answers 503, not 200."""
    start, rotate = (shlex.split(block.text) for block in blocks(PAGE) if block.language == "sh")
    variable, _, value = rotate[1].partition("=")
    monkeypatch.setenv(variable, Template(value).substitute(NEW_SECRET=NEW, OLD_SECRET=OLD))
    monkeypatch.setenv("CHECKOUT_FULFILMENT_SECRET", secret("fulfilment"))
    for name, given in ENVIRONMENT.items():
        monkeypatch.setenv(name, given)
    body = {"account_id": "ACC-1", "changes": {}}

    app = import_from_string(start[-1])()
    answers = [
        await deliver(app, "/webhooks/crm", body, signed=NEW),
        await deliver(app, "/webhooks/crm", body, signed=OLD),
        await deliver(app, "/webhooks/crm", body, signed=OLD, age=timedelta(hours=1)),
        await deliver(app, "/webhooks/crm", body, signed=secret("else")),
        await deliver(app, "/webhooks/crm", {}, signed=NEW),
    ]

    assert start[:2] == ["uvicorn", "--factory"]
    assert answers == [
        (503, "unavailable"),
        (503, "unavailable"),
        (400, "stale"),
        (401, "bad_signature"),
        (422, "unreadable"),
    ]


async def test_every_answer_is_on_the_page(webhooks: Any) -> None:
    """The table has each answer with its status, and the limits that the code has."""
    client = await Client.connect("127.0.0.1:1", lazy=True, plugins=[ReliabilityPlugin()])
    unavailable = await deliver(
        webhooks.application(client, {"crm": NEW}, task_queue="none"), "/webhooks/crm", {"fields": {}}, signed=NEW
    )
    table = {plain(row[0]): (int(row[1]), row[2]) for row in rows(PAGE, "What a sender is answered")}

    assert list(table) == [answer.value for answer in Answer]
    assert unavailable == (table["unavailable"][0], "unavailable")
    assert timedelta(minutes=5) == TOLERANCE
    assert "five minutes" in table["stale"][1]
    assert LARGEST == 256 * 1024
    assert f"`window`, {DEFAULT_WINDOW} if" in section(PAGE, "Events have an id, a source and a version")
