"""The demo's verdict: it must be able to say that something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.orders.contract import CartStatus, OrderStatus
from kit.testing.sandbox import CallNote, CallRecord, EffectKind, EffectRecord, FaultKind, Operation, Provider
from temporal.demo.evidence import Seen, Shop, judge, judge_shop, verdict
from temporal.demo.stories import AMOUNT, Ended, Ending, Story

ORDER = "order-1"
DONE = Story(name="1", title="", promise="", ending=Ending.COMPLETED)
UNDONE = Story(name="1", title="", promise="", ending=Ending.UNDONE)
COMPLETED = Ended("run", "completed", Ending.COMPLETED)
COMPENSATED = Ended("run", "failed", Ending.UNDONE, "generic_decline")
PLACED = Shop(OrderStatus.PLACED, CartStatus.COMPLETED)

_PROVIDERS = {
    EffectKind.AUTHORIZED: Provider.PAYMENTS,
    EffectKind.CAPTURED: Provider.PAYMENTS,
    EffectKind.RESERVED: Provider.STOCK,
    EffectKind.DELIVERED: Provider.WEBHOOKS,
    EffectKind.SENT: Provider.SMTP,
}


def effect(kind: EffectKind, *, live: bool = True, **more: Any) -> EffectRecord:
    """One line of a provider's record."""
    reference = f"reserve:{ORDER}:BOOK" if kind is EffectKind.RESERVED else ORDER
    amount = AMOUNT if kind is EffectKind.CAPTURED else None
    values = {"sequence": 1, "object_id": "x", "at": datetime.now(UTC), "reference": reference, "amount": amount}
    return EffectRecord.model_validate(
        {**values, "provider": _PROVIDERS[kind], "kind": kind, "live": live, **more}, strict=True
    )


def call(operation: Operation, status: int | None, **more: Any) -> CallRecord:
    """One call that a provider received."""
    return CallRecord(
        sequence=1,
        provider=operation.provider,
        operation=operation,
        method="POST",
        path="/",
        reference=ORDER,
        at=datetime.now(UTC),
        status=status,
        **more,
    )


COMPLETE = (
    effect(EffectKind.AUTHORIZED, live=False),
    effect(EffectKind.CAPTURED),
    effect(EffectKind.RESERVED),
    effect(EffectKind.DELIVERED),
    effect(EffectKind.SENT),
)


def problems_of(story: Story, ended: Ended, effects: Sequence[EffectRecord], *calls: CallRecord) -> list[str]:
    """What is wrong with the order, with records of another order mixed in."""
    other = effect(EffectKind.CAPTURED, reference="order-10")
    return judge(story, ORDER, ended, Seen.of(ORDER, [other, *effects], calls))


def test_complete_order_is_well() -> None:
    """One charge, one reservation, one shipment, one receipt: nothing is wrong."""
    assert problems_of(DONE, COMPLETED, COMPLETE) == []


def test_undone_order_is_well() -> None:
    """Nothing live: nothing is wrong."""
    assert problems_of(UNDONE, COMPENSATED, [effect(EffectKind.RESERVED, live=False)]) == []


def test_second_charge_is_found() -> None:
    """Two live charges of one order are the violation all this is about."""
    found = problems_of(DONE, COMPLETED, [*COMPLETE, effect(EffectKind.CAPTURED)])

    assert f"'{ORDER}' has 2 live effects 'captured'; expected at most 1" in found
    assert f"'{ORDER}' was charged 2 times" in found


def test_second_charge_that_was_refunded_is_found() -> None:
    """A second charge is found even when it was given back since."""
    assert problems_of(DONE, COMPLETED, [*COMPLETE, effect(EffectKind.CAPTURED, live=False)]) == [
        f"'{ORDER}' was charged 2 times"
    ]


@pytest.mark.parametrize("missing", range(1, len(COMPLETE)))
def test_missing_effect_of_a_completed_order_is_found(missing: int) -> None:
    """A completed order without its charge, reservation, shipment or receipt is not complete."""
    effects = [effect for number, effect in enumerate(COMPLETE) if number != missing]

    (problem,) = problems_of(DONE, COMPLETED, effects)

    assert "is completed and has not exactly one" in problem


def test_wrong_amount_is_found() -> None:
    """A charge of another amount is not the order's charge."""
    effects = [effect(EffectKind.CAPTURED, amount=1), *COMPLETE[2:]]

    (problem,) = problems_of(DONE, COMPLETED, effects)

    assert f"not {AMOUNT}" in problem


@pytest.mark.parametrize("kind", [EffectKind.AUTHORIZED, EffectKind.CAPTURED, EffectKind.RESERVED])
def test_residue_of_an_undone_order_is_found(kind: EffectKind) -> None:
    """An undone order that still holds, charges or reserves anything is not undone."""
    assert problems_of(UNDONE, COMPENSATED, [effect(kind)]) == [
        f"'{ORDER}' is compensated and something is still {kind.value}"
    ]


def test_other_ending_is_found() -> None:
    """An order that ended otherwise than its story says is wrong, even when nothing is left of it."""
    (problem,) = problems_of(UNDONE, Ended("run", "canceled", Ending.CANCELLED, "cancelled"), [])

    assert problem == f"'{ORDER}' ended 'cancelled' (cancelled), not 'compensated'"


def test_trouble_that_was_not_met_is_found() -> None:
    """An order that never met its scripted fault has shown nothing."""
    story = Story(
        name="1",
        title="",
        promise="",
        ending=Ending.COMPLETED,
        faults=((Operation.CAPTURE, FaultKind.DROP_REPLY, {}),),
    )
    dropped = call(Operation.CAPTURE, None, fault=FaultKind.DROP_REPLY)

    assert problems_of(story, COMPLETED, COMPLETE) == [f"'{ORDER}' never met its trouble (capture: drop_reply)"]
    assert problems_of(story, COMPLETED, COMPLETE, dropped) == []


def test_shop_must_agree() -> None:
    """The shop's own database is looked at beside the records."""
    open_cart = Shop(None, CartStatus.OPEN)

    assert judge_shop(ORDER, COMPLETED, PLACED) == []
    assert judge_shop(ORDER, COMPENSATED, open_cart) == []
    assert judge_shop(ORDER, COMPENSATED, PLACED) == [
        f"'{ORDER}' is compensated, and the shop's database says: order placed, cart completed"
    ]


def test_verdict_adds_up() -> None:
    """The verdict counts charges, whole orders and residue, and is well only when all of it is."""
    seen = Seen(COMPLETE)

    good = verdict([(COMPLETED, seen, PLACED)], [], of=1)
    missing = verdict([(COMPLETED, seen, PLACED)], [], of=2)
    twice = verdict([(COMPLETED, Seen((*COMPLETE, effect(EffectKind.CAPTURED))), PLACED)], [], of=1)
    shop = verdict([(COMPLETED, seen, Shop(None, CartStatus.OPEN))], [], of=1)
    told = verdict([(COMPLETED, seen, PLACED)], ["something"], of=1)

    assert good.ok
    assert [text for _, text in good.lines] == [
        "1 of 1 orders ended, nobody had to step in",
        "1 charges, 0 orders charged twice",
        "1 of 1 completed orders: charged, reserved, shipped and receipt sent, once each",
        "0 undone orders: 0 charges, holds or reservations left",
    ]
    assert not any(bad.ok for bad in (missing, twice, shop, told))


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ([call(Operation.AUTHORIZE, 200), call(Operation.CAPTURE, 200)], "authorized, captured"),
        ([call(Operation.AUTHORIZE, 402)], "declined"),
        ([call(Operation.AUTHORIZE, 429)] * 2, "2x 429 slow down"),
        ([call(Operation.CAPTURE, None, fault=FaultKind.DROP_REPLY)], "captured (reply lost)"),
        ([call(Operation.CAPTURE, 200, fault=FaultKind.DELAY)], "captured (reply held)"),
        ([call(Operation.CAPTURE, None, fault=FaultKind.DROP_BEFORE)], "connection lost"),
        ([call(Operation.CAPTURE, 200, note=CallNote.REPLAYED)], "asked again: same reply"),
        ([call(Operation.CAPTURE, 400)], "capture refused"),
        ([call(Operation.CANCEL, None)], "…"),
        ([call(Operation.FIND, 200)], ""),
        ([call(Operation.DELIVER, 200)], ""),
    ],
)
def test_cell_tells_what_payments_saw(calls: list[CallRecord], told: str) -> None:
    """Each call is told in words; look-ups and other providers' calls are left out."""
    assert Seen.of(ORDER, [], calls).cell(Provider.PAYMENTS) == told
