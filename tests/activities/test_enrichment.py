"""Enrichment: known, unknown, and down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.enrichment import contract as enrichment
from activities.enrichment.contract import Enrichment, LookUp
from activities.enrichment.http import HttpEnrichment
from kit.contract import FailureKind, Outcome, Token
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import FaultKind, Operation, Sandbox
from tests.activities.conftest import client_of

TOKEN = Token(key="", correlation_id="corr-1", workflow_id="crm-ACC-1")
ACME = LookUp(account_id="ACC-1", domain="acme.example")


@pytest.fixture
async def connector(sandbox: Sandbox) -> AsyncIterator[HttpEnrichment]:
    """The connector to the sandbox's enrichment service."""
    async with client_of(sandbox) as client:
        yield HttpEnrichment(client)


async def test_a_look_up_keeps_its_promises(sandbox: Sandbox, connector: HttpEnrichment) -> None:
    """Looking up changes nothing, and says that nothing happened when the service is down."""

    async def down() -> None:
        await sandbox.control.fault(Operation.ENRICH, FaultKind.UNAVAILABLE)

    async def effects() -> int:
        return len(await sandbox.control.effects())

    report = await check_connector(
        connector,
        enrichment.look_up,
        ACME,
        oracle=effects,
        faults=[Fault(down, ACME, FailureKind.UNAVAILABLE, Outcome.REFUSED)],
    )

    assert report.kept[0] is Promise.READS_ONLY
    assert report.faults == 1


async def test_what_is_known_is_told(connector: HttpEnrichment) -> None:
    """A known domain comes with its company."""
    found = await connector.look_up(ACME, TOKEN)

    assert found == Enrichment(domain="acme.example", name="Acme Ltd", industry="manufacturing", employees=250)


async def test_a_domain_nobody_knows_is_an_answer(connector: HttpEnrichment) -> None:
    """Not found is no failure: there is nothing to wait for."""
    found = await connector.look_up(LookUp(account_id="ACC-1", domain="nobody.example"), TOKEN)

    assert found == Enrichment(domain="nobody.example")


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.UNAVAILABLE, FailureKind.RATE_LIMITED])
def test_a_service_that_is_down_is_given_up_within_seconds(kind: FailureKind) -> None:
    """Whoever asks goes on without it, soon."""
    rule = enrichment.look_up.retry_for(kind, persistent=False)

    assert rule.attempts == 3
    assert rule.cap <= timedelta(seconds=5)
