"""The CRM: what HubSpot promises, and what it does not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kit.testing.sandbox import EffectKind, FaultKind, Operation, SandboxApp, SandboxTransport
from kit.testing.sandbox.crm_routes import COMPANIES

BY = {"idProperty": "account_id"}


@pytest.fixture
def app() -> SandboxApp:
    """A sandbox with one company."""
    app = SandboxApp()
    app.crm.add("ACC-1", plan="starter")
    return app


@pytest.fixture
def http(app: SandboxApp) -> httpx.AsyncClient:
    """A client with credentials."""
    headers = {"Authorization": "Bearer pat-sandbox"}
    return httpx.AsyncClient(base_url="http://crm.test", transport=SandboxTransport(app), headers=headers)


def _upsert(account: str, **properties: str) -> dict[str, Any]:
    return {"inputs": [{**BY, "id": account, "properties": properties}]}


async def test_an_upsert_makes_one_company_however_often_it_is_sent(app: SandboxApp, http: httpx.AsyncClient) -> None:
    """The first makes it, the others write it; what writes nothing new is no effect."""
    replies = [await http.post(f"{COMPANIES}/batch/upsert", json=_upsert("ACC-2", plan="pro")) for _ in range(3)]

    assert [reply.json()["results"][0]["new"] for reply in replies] == [True, False, False]
    assert [(effect.kind, effect.reference) for effect in app.exchange.journal.effects()] == [
        (EffectKind.CREATED, "ACC-2")
    ]


async def test_whoever_writes_last_wins(app: SandboxApp, http: httpx.AsyncClient) -> None:
    """There is no condition on a write; what was written over stands no longer."""
    for plan in ("pro", "starter", "pro"):
        await http.patch(f"{COMPANIES}/ACC-1", params=BY, json={"properties": {"plan": plan}})

    effects = app.exchange.journal.effects()
    assert [(effect.details["was_plan"], effect.details["plan"], effect.live) for effect in effects] == [
        ("starter", "pro", False),
        ("pro", "starter", False),
        ("starter", "pro", True),
    ]


async def test_properties_are_shown_when_they_are_asked_for(http: httpx.AsyncClient) -> None:
    """And are null where there is no value."""
    found = (await http.get(f"{COMPANIES}/ACC-1", params={**BY, "properties": "plan,name"})).json()

    assert (found["properties"]["plan"], found["properties"]["name"]) == ("starter", None)


async def test_an_archived_company_is_gone(app: SandboxApp, http: httpx.AsyncClient) -> None:
    """To archive it again is no failure; to read or to write it is."""
    company = (await http.get(f"{COMPANIES}/ACC-1", params=BY)).json()["id"]
    gone = [(await http.delete(f"{COMPANIES}/{company}")).status_code for _ in range(2)]
    read = await http.get(f"{COMPANIES}/ACC-1", params=BY)
    written = await http.patch(f"{COMPANIES}/{company}", json={"properties": {"plan": "pro"}})

    assert gone == [204, 204]
    assert (read.status_code, written.status_code, written.json()["category"]) == (404, 404, "OBJECT_NOT_FOUND")
    assert [effect.kind for effect in app.exchange.journal.effects()] == [EffectKind.ARCHIVED]


@pytest.mark.parametrize(
    ("headers", "body", "status", "category"),
    [
        ({"Authorization": "Bearer wrong"}, _upsert("ACC-1"), 401, "INVALID_AUTHENTICATION"),
        ({}, {"inputs": []}, 400, "VALIDATION_ERROR"),
        ({}, {"inputs": [{"id": "ACC-1", "properties": {}}]}, 400, "VALIDATION_ERROR"),
        ({}, {"inputs": [{**BY, "id": "ACC-1", "properties": {"plan": 1}}]}, 400, "VALIDATION_ERROR"),
    ],
)
async def test_what_is_wrong_is_turned_away_at_the_door(
    app: SandboxApp, http: httpx.AsyncClient, headers: dict[str, str], body: dict[str, Any], status: int, category: str
) -> None:
    """Without an effect, and with the reason."""
    reply = await http.post(f"{COMPANIES}/batch/upsert", json=body, headers=headers)

    assert (reply.status_code, reply.json()["category"]) == (status, category)
    assert app.exchange.journal.effects() == ()


async def test_a_rate_limit_says_when_to_come_back(app: SandboxApp, http: httpx.AsyncClient) -> None:
    """In HubSpot's words, with Retry-After."""
    fault = {"provider": "crm", "operation": Operation.READ_COMPANY, "fault": FaultKind.RATE_LIMIT, "retry_after": 10}
    await http.post("/_control/faults", json=fault)

    reply = await http.get(f"{COMPANIES}/ACC-1", params=BY)

    assert (reply.status_code, reply.headers["Retry-After"], reply.json()["errorType"]) == (429, "10", "RATE_LIMIT")
