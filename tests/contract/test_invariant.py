"""What an invariant must say, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from activities.orders import contract as orders
from activities.payments import contract as payments
from kit.contract import Invariant, Listing, Repair, Severity
from kit.errors import DefinitionError


def _invariant(**changes: Any) -> Invariant:
    values: dict[str, Any] = {
        "name": "a rule",
        "severity": Severity.NOTICE,
        "owner": "team",
        "left": orders.ALL_ORDERS,
        "right": payments.TAKEN_PAYMENTS,
        "check": lambda pair: None,
    }
    return Invariant(**values | changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"owner": " "}, "owner=' ' or its name is empty"),
        ({"right": orders.ALL_ORDERS}, "it compares a system with itself"),
        ({"patience": timedelta(seconds=-1)}, "is negative"),
        ({"effects": ("authorize:",)}, "effect key 'authorize:' does not name {key}"),
        ({"repair": Repair(operation=orders.list_orders, request=lambda pair: None)}, "is a READ"),
        (
            {"repair": Repair(operation=payments.refund, request=lambda pair: None, at_most=0)},
            "at_most=0 repairs nothing",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], rule: str) -> None:
    """An invariant that could not be asked, or whose repair could change nothing, cannot be built."""
    with pytest.raises(DefinitionError) as refused:
        _invariant(**changes)

    assert rule in str(refused.value)


def test_a_listing_reads_and_does_nothing_else() -> None:
    """An operation that changes something lists nothing."""
    with pytest.raises(DefinitionError, match="is IRREVERSIBLE"):
        Listing(name="refunds", pages=payments.refund, again=payments.find_taken)  # type: ignore[arg-type] # on purpose


def test_it_settles_when_both_systems_have() -> None:
    """What is waited for is the slower of its systems, and its own patience."""
    rule = _invariant(patience=timedelta(minutes=1))

    assert rule.settle == payments.PAYMENTS.settle + timedelta(minutes=1)


def test_the_keys_of_its_effects_are_written_as_operations_write_them() -> None:
    """A business id goes into a key in the same way, whoever writes it."""
    rule = _invariant(effects=("authorize:{key}", "upsert:{key}:*"))
    request = payments.AuthorizePayment(order_id="a:b", amount=1, currency="usd", payment_method="pm")

    assert rule.effect_keys("a:b") == (payments.authorize.key_for(request, workflow_id="w"), "upsert:a%3Ab:*")
