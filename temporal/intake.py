"""The service's webhook intake, an ASGI application: ``uvicorn --factory temporal.intake:create``.

CRM, billing and support deliver to a path each, signed with a secret each: which source an event comes from is what the
signature proves, never what the body says. A path without a secret in the settings is not there.

    POST /webhooks/crm  {"account_id": "ACC-1", "version": 7, "changes": {"fields": {"name": "Acme"}}}

The id of the event is the delivery's ``webhook-id``, which the sender keeps when it sends again. ``version`` counts the
source's changes of this account; a sender that does not count leaves it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from pydantic import Field
from temporalio.client import Client

from activities.payments.contract import Id
from kit import Entity, EntityEvent, Model
from kit.errors import DefinitionError
from kit.operate import Delivery, Endpoint, ToEntity, intake
from kit.operate.intake import ASGIApp, Receive, Scope, Send
from kit.telemetry import configure_logging
from kit.worker import ReliabilityPlugin
from temporal.app import App
from temporal.settings import Settings
from workflows.crm_sync import Account, AccountChanged, CrmSync, Source, sync_workflow_id

PATHS: Final[Mapping[Source, str]] = {
    Source.CRM: "/webhooks/crm",
    Source.BILLING: "/webhooks/billing",
    Source.SUPPORT: "/webhooks/support",
}
"""Where each source delivers."""


class AccountEvent(Model):
    """The body of a delivery.

    Attributes:
        account_id: The account.
        version: The source's count of its changes of this account.
        changes: What the source says.
    """

    account_id: Id
    version: int | None = Field(default=None, ge=0)
    changes: AccountChanged


def route(source: Source, delivery: Delivery) -> ToEntity:
    """An event of one source, for the account's entity.

    Raises:
        ValidationError: The body is no `AccountEvent`.
    """
    said = AccountEvent.model_validate(delivery.body)
    event = EntityEvent[AccountChanged](id=delivery.id, source=source.value, version=said.version, data=said.changes)
    entity = Entity[Account](state=Account(account_id=said.account_id), tenant=said.account_id)
    return ToEntity(run=CrmSync.run, entity=entity, event=event, id=sync_workflow_id(said.account_id))


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """One endpoint for each source that shares a secret with the service.

    Raises:
        DefinitionError: None does, so that nobody could deliver.
    """
    secrets = {
        Source.CRM: settings.crm_webhook_secrets,
        Source.BILLING: settings.billing_webhook_secrets,
        Source.SUPPORT: settings.support_webhook_secrets,
    }
    found = tuple(
        Endpoint(PATHS[source], secrets=tuple(given.get_secret_value().split(",")), route=partial(route, source))
        for source, given in secrets.items()
        if given.get_secret_value()
    )
    if not found:
        raise DefinitionError(
            "webhook intake",
            rule="no source shares a secret with it, so that nobody could deliver",
            fix="set CHECKOUT_CRM_WEBHOOK_SECRETS, or that of BILLING or SUPPORT",
        )
    return found


class Intake:
    """The intake, whose client connects with its first request.

    So the application starts while Temporal cannot be reached, and answers 503 until it can.

    Args:
        app: The service.

    Raises:
        DefinitionError: The settings are incomplete.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._endpoints = endpoints(app.settings)
        self._connecting = asyncio.Lock()
        self._serve: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        async with self._connecting:
            if self._serve is None:
                client: Client = await self._app.connect(ReliabilityPlugin(), lazy=True)
                self._serve = intake(client, task_queue=self._app.settings.task_queue, endpoints=self._endpoints)
        await self._serve(scope, receive, send)


def create() -> Intake:
    """The application, from the environment's settings."""
    app = App()
    configure_logging(level=app.settings.log_level)
    return Intake(app)
