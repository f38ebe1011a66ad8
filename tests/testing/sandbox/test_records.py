"""The verdict comes from the providers' records alone."""

from datetime import UTC, datetime

import pytest

from kit.testing.sandbox import EffectKind, EffectRecord, Provider, ViolationRule, live_effects, violations

PROVIDERS = {
    EffectKind.AUTHORIZED: Provider.PAYMENTS,
    EffectKind.CAPTURED: Provider.PAYMENTS,
    EffectKind.RESERVED: Provider.STOCK,
    EffectKind.DELIVERED: Provider.WEBHOOKS,
    EffectKind.SENT: Provider.SMTP,
}


def record(kind: EffectKind, reference: str = "ORDER-1", *, live: bool = True, **details: str) -> EffectRecord:
    """An effect of which only kind, order and details matter."""
    return EffectRecord(
        sequence=1,
        provider=PROVIDERS[kind],
        kind=kind,
        reference=reference,
        object_id="x",
        at=datetime(2026, 11, 21, tzinfo=UTC),
        live=live,
        details=details,
    )


def test_a_good_order_breaks_no_rule() -> None:
    """One of each effect is what a completed order looks like, for any number of orders."""
    records = [record(kind, order) for kind in PROVIDERS if kind != "authorized" for order in ("ORDER-1", "ORDER-2")]

    assert violations(records) == ()


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (EffectKind.CAPTURED, ViolationRule.CHARGED_TWICE),
        (EffectKind.AUTHORIZED, ViolationRule.HELD_TWICE),
        (EffectKind.RESERVED, ViolationRule.RESERVED_TWICE),
        (EffectKind.DELIVERED, ViolationRule.DELIVERED_TWICE),
        (EffectKind.SENT, ViolationRule.SENT_TWICE),
    ],
)
def test_twice_is_once_too_often(kind: EffectKind, rule: ViolationRule) -> None:
    """Two live effects of a kind for one order break the rule of that kind, and the message counts them."""
    [violation] = violations([record(kind), record(kind), record(kind, "ORDER-2")])

    assert (violation.rule, violation.reference) == (rule, "ORDER-1")
    assert violation.message.startswith(f"'ORDER-1' has 2 live effects '{kind}'")


def test_what_was_undone_does_not_count() -> None:
    """A charge that was given back and charged again is one charge."""
    records = [record(EffectKind.CAPTURED, live=False), record(EffectKind.CAPTURED)]

    assert violations(records) == ()


def test_hold_beside_a_charge_is_a_violation() -> None:
    """Money held by a forgotten authorization is the customer's loss even when the charge is right."""
    [violation] = violations([record(EffectKind.AUTHORIZED), record(EffectKind.CAPTURED)])

    assert violation.rule is ViolationRule.HELD_TWICE


@pytest.mark.parametrize(
    ("kind", "detail"),
    [(EffectKind.RESERVED, "sku"), (EffectKind.DELIVERED, "event_type"), (EffectKind.SENT, "subject")],
)
def test_different_things_of_one_order_are_not_twice(kind: EffectKind, detail: str) -> None:
    """Two skus, two kinds of event, two different messages of one order are no repetition."""

    def with_detail(value: str) -> EffectRecord:
        return record(kind).model_copy(update={"details": {detail: value}})

    assert violations([with_detail("a"), with_detail("b")]) == ()


def test_live_effects_are_those_of_one_order() -> None:
    """Live effects are picked by the exact reference, and what was undone is left out."""
    mine = record(EffectKind.RESERVED)
    records = [record(EffectKind.CAPTURED, live=False), mine, record(EffectKind.RESERVED, "ORDER-10")]

    assert live_effects(records, "ORDER-1") == (mine,)
