"""What the state of a scenario leaves out: nothing looks at it any more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.history.v1 import History

from kit.ledger import ClaimAction, ClaimUndo, Entry, State
from kit.ledger.rules import decide
from kit.testing.engines import protocol
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.world import Subject
from tests.worlds import CHECKOUT, FIVE_STEPS, TWO_STEPS

NOW = datetime(2026, 1, 1, tzinfo=UTC)

ROW = Entry(
    key="charge:1",
    fingerprint="f",
    operation="shop.charge",
    version=1,
    state=State.DONE,
    saga="sweep",
    run_id="r",
    step=1,
    correlation_id="sweep",
    request=b"{}",
    result=b"{}",
    owner="one",
    first_claimed_at=NOW - timedelta(minutes=1),
    updated_at=NOW - timedelta(seconds=50),
    expires_at=NOW + timedelta(days=90),
)
ASKING = replace(ROW, owner="two", state=State.CLAIMED, lease_until=NOW + timedelta(seconds=11))


def states_of(subject: Subject, scenario: str) -> list[str]:
    """The states that a scenario passes through, in order."""
    found: list[str] = []

    def known(state: protocol.State | None, seen: int) -> bool:
        found.append(str(state))
        return False

    Simulation()._run_until_here(subject, Scenario.parse(scenario), known)
    return found


@pytest.mark.parametrize("state", [State.DONE, State.UNDONE, State.VOID])
@pytest.mark.parametrize("claim", [ClaimAction, ClaimUndo])
def test_settled_row_answers_alike_however_it_came_about(state: State, claim: Any) -> None:
    """Who settled it, when, and in how many attempts is looked at by no rule of the ledger."""
    row = replace(ROW, state=state)
    other = replace(
        row,
        owner="x",
        attempts=9,
        revision=7,
        first_claimed_at=NOW - timedelta(days=1),
        updated_at=NOW,
        expires_at=None,
    )

    (new, said), (other_new, other_said) = [decide(one, claim(entry=ASKING, now=NOW)) for one in (row, other)]

    assert type(said) is type(other_said)
    assert (new and new.state, new and new.lease_until) == (
        other_new and other_new.state,
        other_new and other_new.lease_until,
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["outage", "reply_lost", "crash_before", "crash_after", "too_slow", "held"])
def test_fault_that_was_got_over_leaves_no_trace(fault: str) -> None:
    """A retry that succeeds leads to the state of the clean run, although it is later and the calls are others."""
    clean = states_of(TWO_STEPS, "clean")

    states = states_of(TWO_STEPS, f"stall.lay_aside#1:{fault}")

    assert states[-2:] == clean[-2:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "scenario"),
    [
        (TWO_STEPS, "stall.lay_aside#1:refused"),
        (TWO_STEPS, "stall.lay_aside#1:cancel_during"),
        (TWO_STEPS, "stall.charge#1:unrecorded"),
        (TWO_STEPS, "stall.lay_aside#1:started_again"),
        (CHECKOUT, "payments.authorize#1:refused"),
        (CHECKOUT, "orders.create#1:cancel_with_result"),
    ],
)
def test_fault_that_changes_what_follows_is_in_the_state(subject: Subject, scenario: str) -> None:
    """From where it struck on, no state is one of the clean run's."""
    clean = set(states_of(subject, "clean"))

    states = states_of(subject, scenario)

    assert clean
    assert not clean & set(states)


@pytest.mark.slow
def test_states_do_not_depend_on_the_process() -> None:
    """The same scenario passes through the same states, whatever ran before it."""
    first, second = states_of(CHECKOUT, "inventory.reserve#1:outage"), states_of(CHECKOUT, "inventory.reserve#1:outage")

    assert first == second
    assert len(first) > 3


@pytest.mark.slow
def test_history_is_the_same_to_the_byte_in_every_process() -> None:
    """Maps of a message are written in the order of their keys, and not as this process happens to hold them."""
    run = Simulation().run_here(FIVE_STEPS, Scenario.parse("post.send#1:refused"))

    assert History.FromString(run.history).SerializeToString(deterministic=True) == run.history
