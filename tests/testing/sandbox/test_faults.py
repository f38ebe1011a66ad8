"""The script of faults: what may be written into it, and what it deals out."""

import pytest
from pydantic import ValidationError

from kit.testing.sandbox import OPERATIONS, Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.faults import FaultScript


def fault(kind: FaultKind = FaultKind.REFUSE, **arguments: object) -> Fault:
    """A fault of the capture, unless told otherwise."""
    return Fault.model_validate(
        {"provider": Provider.PAYMENTS, "operation": Operation.CAPTURE, "fault": kind, **arguments}
    )


def test_every_operation_has_one_provider() -> None:
    """Each operation is offered by exactly one provider, which is how it can name its provider."""
    offered = [operation for operations in OPERATIONS.values() for operation in operations]

    assert sorted(offered) == sorted(Operation)
    assert all(operation in OPERATIONS[operation.provider] for operation in Operation)


def test_wrong_operation_names_its_provider() -> None:
    """An operation of another provider is refused, with what exists and where it belongs."""
    complaint = r"'stock' has no operation 'refund', expected one of \['reserve', .* belongs to 'payments'"

    with pytest.raises(ValidationError, match=complaint):
        fault(provider=Provider.STOCK, operation=Operation.REFUND)


@pytest.mark.parametrize(
    ("kind", "arguments", "complaint"),
    [
        (FaultKind.DELAY, {}, "`seconds` goes with 'delay'"),
        (FaultKind.REFUSE, {"seconds": 1}, "`seconds` goes with 'delay'"),
        (FaultKind.DROP_REPLY, {"status": 500}, "answers with no status of its own, got 500"),
        (FaultKind.RATE_LIMIT, {"status": 503}, "answers with no status of its own, got 503"),
        (FaultKind.DROP_BEFORE, {"retry_after": 3}, "sends no Retry-After, got 3"),
        (FaultKind.REFUSE, {"times": 0}, "times"),
        (FaultKind.REFUSE, {"status": 200}, "status"),
        (FaultKind.REFUSE, {"often": 3}, "often"),
    ],
)
def test_nonsense_is_refused(kind: FaultKind, arguments: dict[str, object], complaint: str) -> None:
    """Arguments that do not fit the fault are refused when it is built, with the value that does not fit."""
    with pytest.raises(ValidationError, match=complaint):
        fault(kind, **arguments)


def test_oldest_fitting_fault_comes_first() -> None:
    """One call meets one fault: the oldest that fits, so a script reads in the order things go wrong."""
    script = FaultScript([fault(FaultKind.DROP_REPLY), fault(FaultKind.UNAVAILABLE)])

    taken = [script.take(Provider.PAYMENTS, Operation.CAPTURE, "ORDER-1") for _ in range(3)]

    assert [t.fault if t else None for t in taken] == [FaultKind.DROP_REPLY, FaultKind.UNAVAILABLE, None]


def test_fault_is_used_up_after_its_times() -> None:
    """A fault hits as many calls as `times` says, and is then no longer pending."""
    script = FaultScript([fault(times=2)])

    hits = [script.take(Provider.PAYMENTS, Operation.CAPTURE, "x") is not None for _ in range(3)]

    assert hits == [True, True, False]
    assert script.pending() == ()


def test_always_is_never_used_up() -> None:
    """A fault with times "always" stays until the script is cleared."""
    script = FaultScript([fault(times="always")])
    hits = [script.take(Provider.PAYMENTS, Operation.CAPTURE, "x") is not None for _ in range(50)]

    script.clear()

    assert all(hits)
    assert script.take(Provider.PAYMENTS, Operation.CAPTURE, "x") is None


@pytest.mark.parametrize(
    ("provider", "operation", "reference"),
    [
        (Provider.PAYMENTS, Operation.CANCEL, "ORDER-1"),
        (Provider.STOCK, Operation.RESERVE, "ORDER-1"),
        (Provider.PAYMENTS, Operation.CAPTURE, "ORDER-2"),
    ],
)
def test_fault_leaves_other_calls_alone(provider: Provider, operation: Operation, reference: str) -> None:
    """A fault hits only its own provider, its own operation and references that contain its match."""
    script = FaultScript([fault(match="ORDER-1")])

    assert script.take(provider, operation, reference) is None
    assert script.take(Provider.PAYMENTS, Operation.CAPTURE, "eu/ORDER-1") is not None


def test_fault_left_for_later_keeps_its_place() -> None:
    """A fault the call cannot have is neither used up nor overtaken by a younger one."""
    script = FaultScript([fault(FaultKind.REFUSE), fault(FaultKind.DROP_REPLY)])

    left = script.take(Provider.PAYMENTS, Operation.CAPTURE, "x", leave=frozenset({FaultKind.REFUSE}))

    assert left is None
    assert [f.fault for f in script.pending()] == [FaultKind.REFUSE, FaultKind.DROP_REPLY]
