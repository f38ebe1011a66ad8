"""Results as the ledger stores them: JSON of the operation's own result type."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kit.contract import Operation
from kit.errors import FailureKind, OutcomeUnknown


@cache
def _adapter(operation: Operation[Any, Any]) -> TypeAdapter[Any]:
    return TypeAdapter(operation.result)


def dump(operation: Operation[Any, Any], result: Any) -> bytes:
    """A result as the ledger stores it. It can be read again: an undo may need nothing else.

    Raises:
        OutcomeUnknown: It is not of the operation's type: a bug of the connector, and the effect has happened.
    """
    problem: object = f"expected {getattr(operation.result, '__name__', None)}"
    if isinstance(result, operation.result or NoneType):
        adapter = _adapter(operation)
        try:
            document = adapter.dump_json(result, warnings="error")
            adapter.validate_json(document)
            return document
        except ValueError as error:  # what pydantic's errors derive from
            problem = error
    raise OutcomeUnknown(FailureKind.BUG, f"the connector returned {result!r}: {problem}", reason="invalid_result")


def load(operation: Operation[Any, Any], document: bytes | None) -> Any:
    """A stored result.

    Raises:
        OutcomeUnknown: It does not fit the operation's type: the contract changed under a recorded effect.
    """
    try:
        return _adapter(operation).validate_json(document or b"null")
    except ValidationError as error:
        raise OutcomeUnknown(
            FailureKind.BUG, f"the recorded result {document!r} is unreadable: {error}", reason="unreadable_result"
        ) from error
