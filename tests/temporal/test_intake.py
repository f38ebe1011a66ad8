"""The service's webhook intake: what each source may say, and where it goes."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook
from temporalio.testing import WorkflowEnvironment

from activities.crm.contract import CompanyFields
from kit.errors import DefinitionError
from kit.operate import Delivery
from temporal.app import App
from temporal.intake import PATHS, Intake, route
from workflows.crm_sync import Account, AccountChanged, Source, sync_workflow_id


def secret(word: str) -> str:
    """A secret that is told apart by its word."""
    return "whsec_" + b64encode(word.encode().ljust(32, b".")).decode()


COMPLETE: Final = {
    "CHECKOUT_PAYMENTS_KEY": "sk_test_1",
    "CHECKOUT_STOCK_URL": "http://stock",
    "CHECKOUT_FULFILMENT_URL": "http://partner",
    "CHECKOUT_FULFILMENT_SECRET": secret("fulfilment"),
    "CHECKOUT_SMTP_HOST": "mail",
    "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "TEMPORAL_CONFIG_FILE": os.devnull,
}
SHARED: Final = {
    "CHECKOUT_CRM_WEBHOOK_SECRETS": f"{secret('crm')},{secret('crm before')}",
    "CHECKOUT_BILLING_WEBHOOK_SECRETS": secret("billing"),
}


async def deliver(app: App, source: Source, body: dict[str, Any], *, signed: str) -> int:
    """Deliver as a source; returns the status."""
    now, content = datetime.now(UTC), json.dumps(body)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(signed).sign("evt_1", now, content),
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Intake(app))) as sender:
        reply = await sender.post(f"http://intake.test{PATHS[source]}", content=content, headers=headers)
    return reply.status_code


def test_event_goes_to_the_account_it_is_about() -> None:
    """What an event says, of which account and at which version, reaches that account's entity as its source's word."""
    body = {"account_id": "ACC-1", "version": 7, "changes": {"fields": {"plan": "pro"}, "subscription_id": "sub_1"}}

    target = route(Source.BILLING, Delivery(id="evt_1", body=body))

    assert target.id == sync_workflow_id("ACC-1") == "crm-sync-ACC-1"
    assert target.entity.state == Account(account_id="ACC-1")
    assert (target.event.id, target.event.source, target.event.version) == ("evt_1", "billing", 7)
    assert target.event.data == AccountChanged(fields=CompanyFields(plan="pro"), subscription_id="sub_1")


@pytest.mark.parametrize(
    "body", [{}, {"account_id": "ACC-1"}, {"account_id": "", "changes": {}}, {"account_id": "A", "changes": {"x": 1}}]
)
def test_what_is_no_account_event_is_unreadable(body: dict[str, Any]) -> None:
    """A body without an account, without changes, or with fields that nobody knows is refused, not half read."""
    with pytest.raises(ValidationError):
        route(Source.CRM, Delivery(id="evt_1", body=body))


async def test_source_is_who_signed() -> None:
    """A source delivers with its own secret, old or new, to its own path; one without a secret has no path."""
    app = App({**COMPLETE, **SHARED})
    body = {"account_id": "ACC-1", "changes": {}}

    statuses = [
        await deliver(app, Source.CRM, body, signed=secret("crm")),
        await deliver(app, Source.CRM, body, signed=secret("crm before")),
        await deliver(app, Source.CRM, body, signed=secret("billing")),
        await deliver(app, Source.SUPPORT, body, signed=secret("support")),
    ]

    assert statuses == [503, 503, 401, 404]  # 503: believed, and there is no Temporal here


def test_intake_without_any_secret_is_refused() -> None:
    """An intake that nobody can deliver to is a mistake in the settings, and says which are missing."""
    with pytest.raises(DefinitionError, match="CHECKOUT_CRM_WEBHOOK_SECRETS"):
        Intake(App(COMPLETE))


@pytest.mark.slow
async def test_delivery_starts_the_account_s_entity(server: WorkflowEnvironment) -> None:
    """A delivery that was answered 200 is an open entity of the account, on the queue of the service's workers."""
    address = server.client.service_client.config.target_host
    app = App({**COMPLETE, **SHARED, "TEMPORAL_ADDRESS": address, "CHECKOUT_TASK_QUEUE": "intake-wired"})

    status = await deliver(app, Source.CRM, {"account_id": "ACC-wired", "changes": {}}, signed=secret("crm"))
    entity = server.client.get_workflow_handle(sync_workflow_id("ACC-wired"))
    found = await entity.describe()
    await entity.terminate()

    assert status == 200
    assert (found.workflow_type, found.task_queue) == ("CrmSync", "intake-wired")
