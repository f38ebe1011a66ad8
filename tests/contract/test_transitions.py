"""State machines of the business."""

from __future__ import annotations

from enum import StrEnum

import pytest

from kit.contract import Transitions
from kit.errors import DefinitionError, TransitionError


class Door(StrEnum):
    """Where a door stands."""

    OPEN = "open"
    SHUT = "shut"
    LOCKED = "locked"
    BRICKED = "bricked"


DOOR = Transitions(
    "door",
    {
        Door.OPEN: [Door.SHUT],
        Door.SHUT: [Door.OPEN, Door.LOCKED, Door.BRICKED],
        Door.LOCKED: [Door.SHUT],
        Door.BRICKED: [],
    },
)


def test_an_allowed_change_passes() -> None:
    """What is in the table is allowed."""
    DOOR.check(Door.SHUT, Door.LOCKED)


def test_an_impossible_change_says_what_is_possible() -> None:
    """The error names the machine, both states and the way out."""
    with pytest.raises(TransitionError) as raised:
        DOOR.check(Door.OPEN, Door.LOCKED)

    assert str(raised.value) == "door cannot go from 'open' to 'locked'; from 'open' it may go to shut"
    assert (raised.value.machine, raised.value.current, raised.value.wanted) == ("door", "open", "locked")


def test_a_final_state_says_that_it_is_final() -> None:
    """Nothing leads out of a final state."""
    with pytest.raises(TransitionError) as raised:
        DOOR.check(Door.BRICKED, Door.OPEN)

    assert str(raised.value) == (
        "door cannot go from 'bricked' to 'open'; from 'bricked' it may go to nothing: it is final"
    )


def test_staying_is_a_change_like_any_other() -> None:
    """A state does not lead to itself unless the table says so."""
    with pytest.raises(TransitionError, match="from 'open' to 'open'"):
        DOOR.check(Door.OPEN, Door.OPEN)


def test_sources_are_the_condition_of_the_write() -> None:
    """Compare-and-set asks from which states a state may be reached."""
    assert DOOR.sources(Door.SHUT) == (Door.OPEN, Door.LOCKED)
    assert DOOR.sources(Door.BRICKED) == (Door.SHUT,)


@pytest.mark.parametrize("current", list(Door))
@pytest.mark.parametrize("wanted", list(Door))
def test_check_and_sources_agree(current: Door, wanted: Door) -> None:
    """The two views of the table never differ."""
    allowed = current in DOOR.sources(wanted)

    if allowed:
        DOOR.check(current, wanted)
    else:
        with pytest.raises(TransitionError):
            DOOR.check(current, wanted)


def test_a_table_that_forgets_a_state_is_refused() -> None:
    """A state added to the enum must be placed before it is used."""
    with pytest.raises(DefinitionError) as raised:
        Transitions("door", {Door.OPEN: [Door.SHUT], Door.SHUT: []})

    assert str(raised.value) == (
        "transitions 'door': the states bricked, locked have no row. "
        "Fix: give every state a row; a final state has an empty one."
    )


def test_an_iterator_in_the_table_is_read_once_and_kept() -> None:
    """A table built from generators answers the same every time."""
    machine = Transitions("door", {state: (other for other in [Door.SHUT]) for state in Door})

    machine.check(Door.OPEN, Door.SHUT)
    machine.check(Door.OPEN, Door.SHUT)
