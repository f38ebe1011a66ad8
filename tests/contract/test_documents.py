"""What travels between workflow and worker: documents that lose nothing without a word."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kit.contract import FailureDetails, FailureKind, Model, Outcome, Token, UndoRequest
from kit.errors import (
    DefinitionError,
    KitError,
    LedgerSchemaError,
    LedgerUnavailable,
    NotStarted,
    OperationFailure,
    OutcomeUnknown,
    Refused,
    SagaUsageError,
    TransitionError,
)


class Pay(Model):
    """A request."""

    order_id: str


class Paid(Model):
    """A result."""

    receipt: str


def test_unknown_fields_are_refused() -> None:
    """A field that only a newer version knows does not vanish after a rollback."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Pay.model_validate({"order_id": "1", "amount": 2})


def test_a_document_does_not_change() -> None:
    """What was asked stays what was asked."""
    with pytest.raises(ValidationError, match="frozen"):
        Pay(order_id="1").order_id = "2"  # type: ignore[misc]  # what the test is about


def test_a_token_survives_the_wire() -> None:
    """A token read from history is the token that was written."""
    token = Token(key="k", correlation_id="c", workflow_id="w", step=3, persistent=True)

    assert Token.model_validate_json(token.model_dump_json()) == token


@pytest.mark.parametrize("result", [None, Paid(receipt="1")])
def test_an_undo_request_survives_the_wire(result: Paid | None) -> None:
    """Request and result come back with their own types."""
    undo = UndoRequest[Pay, Paid](request=Pay(order_id="1"), result=result, outcome=Outcome.UNKNOWN)

    assert UndoRequest[Pay, Paid].model_validate_json(undo.model_dump_json()) == undo


def test_failure_details_survive_the_wire() -> None:
    """The saga reads what the guard wrote."""
    details = FailureDetails(
        operation="a.b", kind=FailureKind.TIMEOUT, outcome=Outcome.UNKNOWN, reason="r", attempts=2, needs_person=True
    )

    assert FailureDetails.model_validate_json(details.model_dump_json()) == details


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [(Refused, Outcome.REFUSED), (NotStarted, Outcome.NOT_STARTED), (OutcomeUnknown, Outcome.UNKNOWN)],
)
def test_a_failure_says_what_it_left(failure: type[OperationFailure], outcome: Outcome) -> None:
    """The outcome is in the class; the reason is the kind unless given."""
    plain = failure(FailureKind.CONFLICT, "no")
    named = failure(FailureKind.CONFLICT, "no", reason="locked")

    assert (plain.outcome, plain.reason, named.reason) == (outcome, "conflict", "locked")


def test_one_tree_of_errors() -> None:
    """Everything the kit raises can be caught by its base; a definition error is a ValueError, too."""
    errors = [DefinitionError, OperationFailure, TransitionError, SagaUsageError, LedgerUnavailable, LedgerSchemaError]

    assert all(issubclass(error, KitError) for error in errors)
    assert issubclass(DefinitionError, ValueError)
