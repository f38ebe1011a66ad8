"""Results on their way into the ledger and back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import computed_field

from kit.contract import Effect, Model, Once, Operation, Token
from kit.errors import DefinitionError, FailureKind, OutcomeUnknown
from kit.worker.connector import Connector
from kit.worker.documents import dump, load
from tests.worker.world import Pay, Receipt, dependency


class Price(Model):
    """A result with a type of its own."""

    amount: Decimal


class Total(Model):
    """A result that says more than it reads."""

    amount: int

    @computed_field  # type: ignore[prop-decorator] # pydantic's documented order
    @property
    def twice(self) -> int:
        """Twice the amount."""
        return 2 * self.amount


class Empty(Model):
    """A result that never comes."""


def _broken(amount: Any) -> Price:
    return Price.model_construct(amount=amount)


def _operation(result: Any) -> Operation[Any, Any]:
    return Operation(
        "bank.price",
        Pay,
        result,
        dependency=dependency(),
        effect=Effect.IRREVERSIBLE,
        once=Once.by_state(),
        key="{order_id}",
        timeout=timedelta(seconds=1),
    )


def test_result_comes_back_as_it_went() -> None:
    """What is stored is read again as the same value of the same type."""
    operation = _operation(Price)
    price = Price(amount=Decimal("10.10"))

    assert load(operation, dump(operation, price)) == price


def test_no_result_is_stored_too() -> None:
    """An operation without a result stores null, and reads None."""
    operation = _operation(None)

    assert dump(operation, None) == b"null"
    assert load(operation, b"null") is None
    assert load(operation, None) is None


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (Price, None),
        (Price, {"amount": "1"}),
        (Price, Receipt(charge="ch_1")),
        (Price, _broken(object())),
        (Price, _broken("many")),
        (None, 0),
        (None, False),
    ],
)
def test_value_of_another_type_is_a_bug_in_doubt(result: Any, value: Any) -> None:
    """What is not the operation's own type is refused with its value; the effect has happened."""
    with pytest.raises(OutcomeUnknown, match="the connector returned") as caught:
        dump(_operation(result), value)

    assert (caught.value.kind, caught.value.reason) == (FailureKind.BUG, "invalid_result")


def test_result_that_could_not_be_read_again_is_not_stored() -> None:
    """A result whose document its own type refuses is a bug when it is stored, not when it must be undone."""
    with pytest.raises(OutcomeUnknown, match="twice"):
        dump(_operation(Total), Total(amount=1))


@pytest.mark.parametrize("document", [b"{}", b"[]", b"null", b"not json", b'{"amount":"1","more":1}'])
def test_unreadable_document_shows_itself(document: bytes) -> None:
    """A stored result that no longer fits is named in the error."""
    with pytest.raises(OutcomeUnknown, match="is unreadable") as caught:
        load(_operation(Price), document)

    assert caught.value.reason == "unreadable_result"
    assert repr(document) in str(caught.value)


def test_probe_needs_a_result_to_answer_with() -> None:
    """A look-up whose only answer is None says 'nothing happened' of what has: such a connector is refused."""
    pay = _operation(None)

    with pytest.raises(DefinitionError, match=r"its probe can only answer None.* Fix: give it a result"):

        class Bank(Connector):
            @pay.action
            async def act(self, request: Pay, token: Token) -> None: ...

            @pay.probe
            async def find(self, request: Pay, token: Token) -> None: ...
