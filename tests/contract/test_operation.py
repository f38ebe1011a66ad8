"""An operation that cannot be kept is refused when it is built, with the rule and the fix."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from kit.contract import Dependency, Effect, FailureKind, Model, Once, Operation, Retry, Role, Token, Undo
from kit.contract.operation import ROLE_ATTRIBUTE
from kit.errors import DefinitionError

BANK = Dependency(name="bank", owner="bank-team", settle=timedelta(seconds=1), runbook="docs/bank.md")


class Pay(Model):
    """Pay something."""

    order_id: str
    amount: int


class Paid(Model):
    """Paid."""

    receipt: str


class Loose(BaseModel):
    """A model that drops what it does not know."""

    order_id: str


def _build(name: str = "bank.pay", request: Any = Pay, result: Any = Paid, **changes: Any) -> Operation[Any, Any]:
    given: dict[str, Any] = {
        "dependency": BANK,
        "effect": Effect.COMPENSATABLE,
        "once": Once.by_key(ttl=timedelta(hours=24)),
        "key": "pay:{order_id}",
        "timeout": timedelta(seconds=10),
    }
    return Operation(name, request, result, **{**given, **changes})


@pytest.mark.parametrize("name", ["pay", "Bank.pay", "bank.", ".pay", "bank pay", "bank.pay.undo", "bank.2pay", ""])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    """Names are `<system>.<verb>` in lower case, and `.undo` belongs to the kit."""
    with pytest.raises(DefinitionError) as raised:
        _build(name)

    assert str(raised.value) == (
        f"operation {name!r}: its name must be lower-case words joined by dots and not end in '.undo'. "
        "Fix: use '<system>.<verb>', e.g. 'payments.authorize'."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"request": dict},
            "its request type <class 'dict'> is not a pydantic model. "
            "Fix: derive it from kit.Model (None for no result).",
        ),
        (
            {"result": str},
            "its result type <class 'str'> is not a pydantic model. "
            "Fix: derive it from kit.Model (None for no result).",
        ),
        (
            {"request": None},
            "its request type None is not a pydantic model. Fix: derive it from kit.Model (None for no result).",
        ),
        (
            {"request": Loose},
            "its request type Loose drops unknown fields without a word (extra is not 'forbid'). "
            "Fix: derive it from kit.Model.",
        ),
        (
            {"result": Loose},
            "its result type Loose drops unknown fields without a word (extra is not 'forbid'). "
            "Fix: derive it from kit.Model.",
        ),
        (
            {"timeout": timedelta(0)},
            "timeout=datetime.timedelta(0) must be positive. Fix: give how long one attempt may take.",
        ),
        ({"version": 0}, "version=0 must be at least 1. Fix: count versions from 1."),
        (
            {"summary": "Pay {amuont}"},
            "summary 'Pay {amuont}' uses 'amuont', which Pay does not have. Fix: use its fields: amount, order_id.",
        ),
        (
            {"effect": Effect.READ},
            "a READ has no effect to keep to one. Fix: drop once= and key=.",
        ),
        (
            {"effect": Effect.READ, "once": None},
            "a READ has no effect to keep to one. Fix: drop once= and key=.",
        ),
        (
            {"once": None},
            "effect COMPENSATABLE needs a once-strategy. Fix: declare once=Once.by_key(ttl=...), by_probe(), "
            "by_state(), by_transaction() or never_twice().",
        ),
        (
            {"effect": Effect.IRREVERSIBLE, "once": None},
            "effect IRREVERSIBLE needs a once-strategy. Fix: declare once=Once.by_key(ttl=...), by_probe(), "
            "by_state(), by_transaction() or never_twice().",
        ),
        (
            {"key": None},
            "effect COMPENSATABLE needs a key. Fix: declare key='<verb>:{<business id>}' over the request's fields.",
        ),
        (
            {"local": True, "once": Once.never_twice()},
            "a NEVER_TWICE operation cannot be local: a lost workflow task would make its outcome unknown. "
            "Fix: drop local=True.",
        ),
        (
            {"key": "pay:{run_id}"},
            "key template 'pay:{run_id}' uses 'run_id', which changes between attempts or runs. "
            "Fix: build the key from business identity only, e.g. '{order_id}' or '{workflow_id}'.",
        ),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(changes: dict[str, Any], message: str) -> None:
    """The error names the operation, the rule with the offending value, and the fix."""
    with pytest.raises(DefinitionError) as raised:
        _build(**changes)

    assert str(raised.value) == f"operation 'bank.pay': {message}"


def test_a_request_without_fields_has_no_summary_fields() -> None:
    """The message does not end in an empty list."""

    class Empty(Model):
        """Nothing."""

    with pytest.raises(DefinitionError) as raised:
        _build(request=Empty, summary="{x}")

    assert raised.value.fix == "use its fields: none"


def test_a_read_needs_neither_once_nor_key() -> None:
    """A READ has no key, and nothing to be undone."""
    look = _build(effect=Effect.READ, once=None, key=None, result=None)

    assert look.key_for(Pay(order_id="1", amount=2), workflow_id="WF") == ""
    assert not look.has_undo


def test_what_is_not_said_comes_from_the_dependency() -> None:
    """Owner and runbook are the dependency's, and the summary is made from the name, unless given."""
    plain = _build("big_bank.take_back")
    own = _build(owner="me", runbook="docs/me.md", summary="Pay {amount}")

    assert (plain.owner, plain.runbook, plain.summary) == ("bank-team", "docs/bank.md", "Take back big bank")
    assert (own.owner, own.runbook, own.summary) == ("me", "docs/me.md", "Pay {amount}")


def test_an_operation_names_itself() -> None:
    """Messages show the name; the undo's activity name is derived from it."""
    pay = _build()

    assert repr(pay) == "Operation('bank.pay')"
    assert pay.undo_name == "bank.pay.undo"
    assert pay.has_undo


def test_key_and_summary_are_filled_from_the_request() -> None:
    """One request gives one key and one sentence."""
    pay = _build(key="pay:{order_id}:{workflow_id}", summary="Pay {amount} for {order_id}")
    request = Pay(order_id="O1", amount=5)

    assert pay.key_for(request, workflow_id="WF") == "pay:O1:WF"
    assert pay.summary_for(request) == "Pay 5 for O1"


def test_a_persistent_saga_waits_for_what_passes() -> None:
    """Transient kinds are retried without end where the saga can neither turn round nor give up; others are not."""
    pay = _build()

    assert pay.retry_for(FailureKind.TIMEOUT, persistent=False).attempts == 5
    patient = pay.retry_for(FailureKind.TIMEOUT, persistent=True)
    assert (patient.attempts, patient.base, patient.cap) == (None, timedelta(seconds=1), timedelta(minutes=1))
    assert pay.retry_for(FailureKind.DECLINED, persistent=True) == Retry(attempts=1)


def test_a_method_is_marked_with_its_role() -> None:
    """The decorators change nothing but a note on the method."""
    pay = _build()

    async def act(self: object, request: Pay, token: Token) -> Paid:
        return Paid(receipt="1")

    async def undo(self: object, undo: Undo[Pay, Paid], token: Token) -> None:
        return None

    async def find(self: object, request: Pay, token: Token) -> Paid | None:
        return None

    marked: Any = pay.action(act)

    assert marked is act
    assert pay.compensation(undo) is undo
    assert pay.probe(find) is find
    marks = [getattr(method, ROLE_ATTRIBUTE) for method in (act, undo, find)]
    assert marks == [(Role.ACTION, pay), (Role.COMPENSATION, pay), (Role.PROBE, pay)]


def test_a_method_has_one_role() -> None:
    """One method cannot serve two roles."""
    pay = _build()

    async def act(self: object, request: Pay, token: Token) -> Paid:
        return Paid(receipt="1")

    pay.action(act)
    with pytest.raises(DefinitionError) as raised:
        pay.probe(act)

    assert str(raised.value) == (
        "operation 'bank.pay': method 'act' already has a role. Fix: give each role a method of its own."
    )
