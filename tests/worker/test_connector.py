"""A connector that cannot keep its operations' contracts is refused when its class is built."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kit.contract import Dependency, Effect, Model, Once, Operation, Role, Token, Undo
from kit.errors import DefinitionError
from kit.worker.connector import Connector

BANK = Dependency(name="bank", owner="bank-team", settle=timedelta(seconds=1))


class Pay(Model):
    """Pay something."""

    order_id: str


class Paid(Model):
    """Paid."""

    receipt: str


BY_KEY = Once.by_key(ttl=timedelta(hours=24))


def _operation(effect: Effect = Effect.COMPENSATABLE, once: Once | None = BY_KEY) -> Operation[Pay, Paid]:
    key = None if effect is Effect.READ else "pay:{order_id}"
    once = None if effect is Effect.READ else once
    return Operation(
        "bank.pay", Pay, Paid, dependency=BANK, effect=effect, once=once, key=key, timeout=timedelta(seconds=10)
    )


async def _two(self: Any, first: Any, token: Token) -> Any:
    return None


async def _three(self: Any, first: Any, token: Token, tx: Any) -> Any:
    return None


def _copy(method: Callable[..., Any]) -> Any:
    """A method of its own for each role: a mark stays on the function."""
    if method is _three:

        async def three(self: Any, first: Any, token: Token, tx: Any) -> Any:
            return await _three(self, first, token, tx)

        return three

    async def two(self: Any, first: Any, token: Token) -> Any:
        return await _two(self, first, token)

    return two


def _build(**methods: Any) -> type[Connector]:
    return type("Bank", (Connector,), methods)


def _refusal(**methods: Any) -> str:
    with pytest.raises(DefinitionError) as raised:
        _build(**methods)
    return str(raised.value)


# -- what is accepted ----------------------------------------------------------------------------------------------


def test_a_complete_connector_is_accepted_and_bound() -> None:
    """Every role is served by its own bound method."""
    pay = _operation()

    class Bank(Connector):
        @pay.action
        async def pay_it(self, request: Pay, token: Token) -> Paid:
            return Paid(receipt=f"{id(self)}")

        @pay.compensation
        async def refund(self, undo: Undo[Pay, Paid], token: Token) -> None:
            return None

    bank = Bank()

    assert bank.method(pay, Role.ACTION) == bank.pay_it
    assert bank.method(pay, Role.COMPENSATION) == bank.refund
    assert bank.method(pay, Role.PROBE) is None


@pytest.mark.parametrize(
    ("effect", "once", "roles"),
    [
        (Effect.READ, None, ["action"]),
        (Effect.REVERSIBLE, BY_KEY, ["action", "compensation"]),
        (Effect.COMPENSATABLE, BY_KEY, ["action", "compensation", "probe"]),
        (Effect.RECONCILABLE, BY_KEY, ["action", "probe"]),
        (Effect.IRREVERSIBLE, BY_KEY, ["action"]),
        (Effect.IRREVERSIBLE, Once.never_twice(), ["action"]),
        (Effect.IRREVERSIBLE, Once.by_probe(), ["action", "probe"]),
        (Effect.REVERSIBLE, Once.by_state(), ["action", "compensation"]),
    ],
)
def test_what_the_effect_and_the_strategy_demand_is_enough(effect: Effect, once: Once | None, roles: list[str]) -> None:
    """Nothing beyond the demanded methods is asked for."""
    operation = _operation(effect, once)

    bank = _build(**{role: getattr(operation, role)(_copy(_two)) for role in roles})

    assert sorted(role.value for role in bank.handlers["bank.pay"].methods) == sorted(roles)


pay = _operation()


class _SameName(Connector):
    """Its action is called like the operation, as everybody writes it first."""

    @pay.action
    async def pay(self, request: Pay, token: Token) -> Paid:
        return Paid(receipt="1")

    @pay.compensation
    async def refund(self, undo: Undo[Pay, Paid], token: Token) -> None:
        return None

    @pay.probe
    async def find(self, request: Pay, token: Token) -> Paid | None:
        return None


def test_a_method_may_bear_the_operations_name() -> None:
    """Inside the class body the action hides the operation, and offers what it hides."""
    assert dict(_SameName.handlers["bank.pay"].methods) == {
        Role.ACTION: "pay",
        Role.COMPENSATION: "refund",
        Role.PROBE: "find",
    }


def test_by_transaction_methods_take_the_transaction() -> None:
    """Action and compensation write through the transaction; the probe reads without one."""
    operation = _operation(once=Once.by_transaction())

    bank = _build(
        act=operation.action(_copy(_three)),
        undo=operation.compensation(_copy(_three)),
        find=operation.probe(_copy(_two)),
    )

    assert set(bank.handlers["bank.pay"].methods) == set(Role)


def test_a_subclass_may_replace_a_method() -> None:
    """A subclass that marks its own version serves the operation with it."""
    operation = _operation(Effect.IRREVERSIBLE)
    base = _build(act=operation.action(_copy(_two)))
    own: Any = operation.action(_copy(_two))

    derived = type("Derived", (base,), {"act": own})

    assert derived().method(operation, Role.ACTION).__func__ is own


async def test_an_unchanged_connector_opens_closes_and_classifies_nothing() -> None:
    """The defaults do nothing, and leave every exception to the failure map."""
    async with _build()() as bank:
        assert bank.classify(RuntimeError("x")) is None
        assert bank.database is None
        assert dict(bank.handlers) == {}


async def test_a_connector_is_closed_after_an_error() -> None:
    """`async with` closes whatever happens inside."""
    seen: list[str] = []

    class Bank(Connector):
        async def open(self) -> None:
            seen.append("open")

        async def close(self) -> None:
            seen.append("close")

    async def use() -> None:
        async with Bank():
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        await use()

    assert seen == ["open", "close"]


# -- what is refused -----------------------------------------------------------------------------------------------

HEAD = "connector 'Bank', operation 'bank.pay': "


def test_an_operation_needs_an_action() -> None:
    """A compensation alone serves nothing."""
    operation = _operation()

    assert _refusal(undo=operation.compensation(_copy(_two))) == (
        HEAD + "it has no action. Fix: mark a method with @pay.action."
    )


@pytest.mark.parametrize("effect", [Effect.REVERSIBLE, Effect.COMPENSATABLE])
def test_what_can_be_undone_needs_a_compensation(effect: Effect) -> None:
    """An effect that is declared undoable must be undone somehow."""
    operation = _operation(effect)

    assert _refusal(act=operation.action(_copy(_two))) == (
        HEAD + f"effect {effect.name} needs a compensation. "
        "Fix: mark a method with @pay.compensation, or declare what the effect really is."
    )


@pytest.mark.parametrize("effect", [Effect.READ, Effect.RECONCILABLE, Effect.IRREVERSIBLE])
def test_what_cannot_be_undone_has_no_compensation(effect: Effect) -> None:
    """A compensation that would never be called is a misunderstanding."""
    operation = _operation(effect)

    assert _refusal(act=operation.action(_copy(_two)), undo=operation.compensation(_copy(_two))) == (
        HEAD + f"effect {effect.name} has no compensation, but 'undo' is marked as one. "
        "Fix: declare the effect COMPENSATABLE or REVERSIBLE, or drop the method."
    )


def test_what_is_reconciled_needs_a_probe() -> None:
    """Without a look-up there is nothing to reconcile with."""
    operation = _operation(Effect.RECONCILABLE)

    assert _refusal(act=operation.action(_copy(_two))) == (
        HEAD + "effect RECONCILABLE needs a probe: its truth must be looked up. Fix: mark a method with @pay.probe."
    )


def test_by_probe_needs_a_probe() -> None:
    """The once-strategy must have what it works with."""
    operation = _operation(Effect.IRREVERSIBLE, Once.by_probe())

    assert _refusal(act=operation.action(_copy(_two))) == (
        HEAD + "once BY_PROBE needs a probe. Fix: mark a method with @pay.probe, or use Once.never_twice()."
    )


def test_a_read_has_nothing_to_probe() -> None:
    """A READ leaves no effect to be looked up."""
    operation = _operation(Effect.READ)

    assert _refusal(act=operation.action(_copy(_two)), find=operation.probe(_copy(_two))) == (
        HEAD + "a READ has nothing to probe. Fix: drop 'find'."
    )


def test_a_method_is_async() -> None:
    """A method that blocks would block every other operation of the worker."""
    operation = _operation(Effect.IRREVERSIBLE)

    def act(self: Any, request: Pay, token: Token) -> Paid:
        return Paid(receipt="1")

    assert _refusal(act=operation.action(act)) == (  # type: ignore[arg-type]  # what the test is about
        HEAD + "its action 'act' is not async. Fix: write it as 'async def'."
    )


@pytest.mark.parametrize("role", ["action", "compensation", "probe"])
def test_a_method_takes_its_argument_and_the_token(role: str) -> None:
    """A wrong signature is found before the first call."""
    operation = _operation()
    methods = {name: getattr(operation, name)(_copy(_two)) for name in ("action", "compensation", "probe")}
    methods[role] = getattr(operation, role)(_copy(_three))

    assert _refusal(**methods) == (
        HEAD + f"its {role} {role!r} takes 3 arguments. Fix: give it exactly (request, token) besides self."
    )


@pytest.mark.parametrize("role", ["action", "compensation"])
def test_a_by_transaction_method_takes_the_transaction(role: str) -> None:
    """Without the transaction it could only write outside of it."""
    operation = _operation(once=Once.by_transaction())
    methods = {name: getattr(operation, name)(_copy(_three)) for name in ("action", "compensation")}
    methods[role] = getattr(operation, role)(_copy(_two))

    assert _refusal(**methods) == (
        HEAD
        + f"its {role} {role!r} takes 2 arguments. Fix: give it exactly (request, token, transaction) besides self."
    )


def test_a_by_transaction_probe_takes_no_transaction() -> None:
    """A look-up writes nothing."""
    operation = _operation(once=Once.by_transaction())

    assert _refusal(
        act=operation.action(_copy(_three)),
        undo=operation.compensation(_copy(_three)),
        find=operation.probe(_copy(_three)),
    ) == (HEAD + "its probe 'find' takes 3 arguments. Fix: give it exactly (request, token) besides self.")


def test_a_role_is_served_once() -> None:
    """Which of two actions would be called is nobody's guess."""
    operation = _operation(Effect.IRREVERSIBLE)

    assert _refusal(one=operation.action(_copy(_two)), two=operation.action(_copy(_two))) == (
        "connector 'Bank': 'one' and 'two' are both the action of 'bank.pay'. Fix: keep one."
    )


def test_one_name_is_one_operation() -> None:
    """Two contracts under one name would be served by one method each, at random."""
    one, two = _operation(Effect.IRREVERSIBLE), _operation(Effect.IRREVERSIBLE)

    assert _refusal(one=one.action(_copy(_two)), two=two.action(_copy(_two))) == (
        "connector 'Bank': it serves two different operations named 'bank.pay'. "
        "Fix: import the one contract everywhere."
    )


def test_a_probe_must_have_something_to_say() -> None:
    """Where the result is None, a look-up that found something cannot be told from one that did not."""
    operation = Operation(
        "bank.pay",
        Pay,
        type(None),
        dependency=BANK,
        effect=Effect.IRREVERSIBLE,
        once=Once.by_probe(),
        key="pay:{order_id}",
        timeout=timedelta(seconds=10),
    )

    assert _refusal(act=operation.action(_copy(_two)), find=operation.probe(_copy(_two))) == (
        HEAD + "its probe can only answer None, which says that nothing happened, because its result is None. "
        "Fix: give it a result, such as the provider's own id of what was done."
    )
