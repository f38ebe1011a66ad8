"""Billing on Stripe's wire format: subscriptions, their plans, and their end."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox, live_effects
from kit.testing.sandbox.billing import PERIOD

SUBSCRIPTION = "/v1/subscriptions/sub_1"


@pytest.fixture(autouse=True)
async def _subscribed(sandbox: Sandbox) -> None:
    await sandbox.control.subscribe("sub_1", account_id="ACC-1", price="price_pro")


async def change(http: httpx.AsyncClient, price: str, *, key: str | None = None, **more: str) -> httpx.Response:
    """Ask for another price."""
    item = (await http.get(SUBSCRIPTION)).json()["items"]["data"][0]["id"]
    form = {"items[0][id]": item, "items[0][price]": price, **more}
    return await http.post(SUBSCRIPTION, data=form, headers={"Idempotency-Key": key} if key else {})


async def test_subscription_shows_what_was_paid(http: httpx.AsyncClient) -> None:
    """A subscription names its price, its period and its invoice, which is written out when it is asked for."""
    plain = (await http.get(SUBSCRIPTION)).json()
    whole = (await http.get(SUBSCRIPTION, params={"expand[]": "latest_invoice"})).json()

    assert (plain["object"], plain["status"], plain["metadata"]) == ("subscription", "active", {"account_id": "ACC-1"})
    assert plain["items"]["data"][0]["price"]["id"] == "price_pro"
    assert plain["current_period_end"] - plain["current_period_start"] == PERIOD.total_seconds()
    assert plain["latest_invoice"] == whole["latest_invoice"]["id"]
    assert whole["latest_invoice"]["amount_paid"] == 9900


async def test_what_a_subscription_paid_can_be_refunded(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The payment of a subscription is one of the account's payments, and the refund is about the subscription."""
    invoice = (await http.get(SUBSCRIPTION, params={"expand[]": "latest_invoice"})).json()["latest_invoice"]

    refund = await http.post("/v1/refunds", data={"payment_intent": invoice["payment_intent"], "amount": "500"})

    assert (refund.status_code, refund.json()["amount"]) == (200, 500)
    assert [(e.kind, e.amount) for e in await sandbox.control.effects("sub_1")] == [(EffectKind.REFUNDED, 500)]


async def test_period_may_have_begun_before(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Of a subscription that was taken out some days ago a part of the period is over."""
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)

    await sandbox.control.subscribe("sub_2", account_id="ACC-2", since=since)

    found = (await http.get("/v1/subscriptions/sub_2")).json()
    assert found["current_period_start"] == int(since.timestamp())


async def test_cancelled_subscription_has_ended(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A cancellation ends it at once, keeps the comment, and is written down."""
    params = {"prorate": "false", "cancellation_details[comment]": "cancel:sub_1"}

    ended = await http.delete(SUBSCRIPTION, params=params, headers={"X-Correlation-Id": "corr-1"})

    body = ended.json()
    assert (ended.status_code, body["status"]) == (200, "canceled")
    assert body["cancellation_details"]["comment"] == "cancel:sub_1"
    [effect] = live_effects(await sandbox.control.effects(), "sub_1")
    assert (effect.kind, effect.correlation_id) == (EffectKind.CANCELED, "corr-1")


async def test_what_has_ended_is_not_cancelled_again(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A second cancellation is told that there is no such subscription; it is retrieved all the same, as at Stripe."""
    await http.delete(SUBSCRIPTION, headers={"Idempotency-Key": "cancel"})

    again = await http.delete(SUBSCRIPTION, headers={"Idempotency-Key": "cancel"})

    assert (again.status_code, again.json()["error"]["code"]) == (404, "resource_missing")
    assert (await http.get(SUBSCRIPTION)).json()["status"] == "canceled"
    assert len(await sandbox.control.effects("sub_1")) == 1


async def test_price_is_changed_once_under_a_key(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The same key brings the same reply; the record says from which price to which."""
    first = await change(http, "price_enterprise", key="change-1")
    await change(http, "price_pro")

    again = await change(http, "price_enterprise", key="change-1")

    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    effects = await sandbox.control.effects("sub_1")
    assert [(e.details["from"], e.details["to"], e.live) for e in effects] == [
        ("price_pro", "price_enterprise", False),
        ("price_enterprise", "price_pro", True),
    ]


async def test_metadata_is_merged_and_emptied(http: httpx.AsyncClient) -> None:
    """Metadata is added to what is there; an empty value removes a key."""
    await http.post(SUBSCRIPTION, data={"metadata[kit_key]": "change-1"})

    emptied = await http.post(SUBSCRIPTION, data={"metadata[kit_key]": "", "metadata[note]": "n"})

    assert emptied.json()["metadata"] == {"account_id": "ACC-1", "note": "n"}


async def test_subscription_may_end_with_its_period(http: httpx.AsyncClient) -> None:
    """Until the period is over it goes on, and that it ends then can be taken back."""
    ending = await http.post(SUBSCRIPTION, data={"cancel_at_period_end": "true"})
    going_on = await http.post(SUBSCRIPTION, data={"cancel_at_period_end": "false"})

    assert [(each["status"], each["cancel_at_period_end"]) for each in (ending.json(), going_on.json())] == [
        ("active", True),
        ("active", False),
    ]


async def test_what_has_ended_keeps_its_price(http: httpx.AsyncClient) -> None:
    """A subscription that has ended can no longer be changed."""
    await http.delete(SUBSCRIPTION)

    refused = await change(http, "price_starter")

    assert refused.status_code == 400
    assert "canceled subscription" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"items[0][price]": "price_pro"}, 400, "subscription item: None"),
        ({"items[0][id]": "si_other", "items[0][price]": "price_pro"}, 400, "subscription item: 'si_other'"),
        ({"items[0][price]": "price_gold"}, 400, "No such price: 'price_gold'"),
        ({"cancel_at_period_end": "maybe"}, 400, "Invalid cancel_at_period_end"),
        ({"colour": "red"}, 400, "unknown parameter: colour"),
    ],
)
async def test_what_stripe_would_not_understand_is_refused(
    http: httpx.AsyncClient, form: dict[str, str], status: int, said: str
) -> None:
    """Bad input is refused in Stripe's words, and changes nothing."""
    answer = await http.post(SUBSCRIPTION, data=form)

    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


async def test_subscriptions_are_listed_by_pages(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Newest first; those that have ended only when they are asked for."""
    for number in (2, 3):
        await sandbox.control.subscribe(f"sub_{number}", account_id="ACC-1")
    await http.delete("/v1/subscriptions/sub_2")

    async def ids(**query: str) -> tuple[list[str], bool]:
        found = (await http.get("/v1/subscriptions", params=query)).json()
        return [each["id"] for each in found["data"]], found["has_more"]

    assert await ids() == (["sub_3", "sub_1"], False)
    assert await ids(status="all", limit="2") == (["sub_3", "sub_2"], True)
    assert await ids(status="all", limit="2", starting_after="sub_2") == (["sub_1"], False)
    assert await ids(status="canceled") == (["sub_2"], False)


async def test_credentials_are_those_of_the_account(http: httpx.AsyncClient) -> None:
    """Nobody ends a subscription without the account's key."""
    answer = await http.delete(SUBSCRIPTION, headers={"Authorization": "Bearer nobody"})

    assert answer.status_code == 401


async def test_a_reply_can_be_lost_after_the_end(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The subscription has ended, and nobody was told."""
    await sandbox.control.fault(Operation.CANCEL_SUBSCRIPTION, FaultKind.DROP_REPLY, match="sub_1")

    with pytest.raises(httpx.RemoteProtocolError):
        await http.delete(SUBSCRIPTION)

    assert (await http.get(SUBSCRIPTION)).json()["status"] == "canceled"


async def test_a_subscription_is_made_once(sandbox: Sandbox) -> None:
    """What exists, or has no known price, cannot be taken out."""
    for subscription_id, price in (("sub_1", "price_pro"), ("sub_2", "price_gold")):
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            await sandbox.control.subscribe(subscription_id, account_id="ACC-1", price=price)


async def test_states_differ_in_what_is_known_of_a_subscription(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """What later answers depend on is part of the sandbox's state; when it happened is not."""
    before = sandbox.app.state()

    await http.delete(SUBSCRIPTION)

    after = sandbox.app.state()
    sandbox.app.billing.subscriptions["sub_1"].canceled_at = 1
    assert before != after == sandbox.app.state()
