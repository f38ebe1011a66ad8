"""Errors of the kit, as values."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from kit.errors import DefinitionError, FailureKind, KitError, LedgerUnavailable, Refused, UnsupportedScenario


@pytest.mark.parametrize(
    "error",
    [
        DefinitionError("operation 'pay'", rule="it has no key", fix="declare one"),
        Refused(FailureKind.DECLINED, "no", reason="card_declined", retry_after=timedelta(seconds=1)),
        UnsupportedScenario("a nexus operation"),
        LedgerUnavailable("nobody listens"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_in_another_process_as_it_is(error: KitError) -> None:
    """Type, words and attributes survive the way between two processes, however the error is built."""
    there = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(there) is type(error)
    assert str(there) == str(error)
    assert there.args == error.args
    assert vars(there) == vars(error)
