"""The contract lock: every change is found, called by its name, and judged by what it does to runs in flight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.contract import Effect, OnceStrategy
from kit.testing.gates.contracts import RULES, Change, Lock, check, compare
from tests.testing.gates.contracts_world import BEFORE_AND_AFTER, REQUIRED, Spec

SPEC = Spec()

STARTS: dict[str, list[Any]] = {
    # kind of field: its defaults
    "id": [REQUIRED],
    "text": [REQUIRED, "none"],
    "maybe": [REQUIRED, None],
    "count": [REQUIRED, 7],
    "money": [REQUIRED],
    "when": [REQUIRED],
    "uuid": [REQUIRED],
    "size": [REQUIRED],
    "lines": [REQUIRED, []],
    "by_sku": [REQUIRED],
    "one_or_other": [REQUIRED, 1],
}


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Services of every sort."""
    kinds = draw(st.lists(st.sampled_from(sorted(STARTS)), max_size=4))
    fields = [(f"field_{place}", kind, draw(st.sampled_from(STARTS[kind]))) for place, kind in enumerate(kinds)]
    once = draw(st.sampled_from([OnceStrategy.BY_KEY, OnceStrategy.BY_PROBE, OnceStrategy.BY_STATE]))
    return replace(
        SPEC,
        fields=(*SPEC.fields, *fields),
        once=once,
        effect=draw(st.sampled_from([effect for effect in Effect if effect is not Effect.READ])),
        local=False,
    )


def _found(was: Spec, now: Spec) -> set[Change]:
    lock = Lock.parse(was.service().lock().text(), where="the test's lock")
    return {finding.change for finding in compare(lock, now.service())}


@pytest.mark.parametrize("name", BEFORE_AND_AFTER)
def test_a_change_is_found_and_nothing_else(name: str) -> None:
    """Each change is reported by its own name, and what did not change is not reported."""
    was, now, expected = BEFORE_AND_AFTER[name]

    assert _found(was(SPEC), now(SPEC)) == expected


def test_every_kind_of_change_is_tried() -> None:
    """No kind of change is without a test that makes it, or without a rule."""
    assert set().union(*(expected for _, _, expected in BEFORE_AND_AFTER.values())) == set(Change) == set(RULES)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_what_has_not_changed_has_no_findings(spec: Spec) -> None:
    """The same contracts, built again from new classes, are the same lock, byte for byte."""
    text = spec.service().lock().text()

    verdict = check(Lock.parse(text, where="the test's lock"), spec.service())

    assert (verdict.findings, verdict.stale) == ((), False)
    assert spec.service().lock().text() == text


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spec=specs(), name=st.sampled_from(sorted(BEFORE_AND_AFTER)))
def test_a_change_is_found_in_any_service(spec: Spec, name: str) -> None:
    """What the change is made in makes no difference to how it is called."""
    was, now, expected = BEFORE_AND_AFTER[name]

    assert _found(was(spec), now(spec)) == expected
