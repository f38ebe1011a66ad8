"""The wire of a client that is a plain object."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kit.contract import Token
from kit.contract.operation import Role
from kit.errors import DefinitionError, FailureKind, Refused
from kit.testing.faults import FaultKind, Scenario
from kit.testing.wire import Unclassifiable, Wire
from kit.worker import Call, current_call
from tests.testing.wire.bench import Hand
from tests.worker.world import now
from tests.worlds.office import Book, Office, declined
from tests.worlds.two_steps import charge


def office(scenario: str, *, known_refusal: bool = True) -> tuple[Wire, Book, Office]:
    """A till on a wire, called by ``stall.charge``."""
    wire, book = Wire(Scenario.parse(scenario), Hand()), Book()
    till = Office(book, charge.name, once=True)
    client = wire.client(till, system="till", safe=("find",), refused=declined if known_refusal else None)
    token = Token(key="charge:lamp", correlation_id="c", workflow_id="w")
    current_call.set(Call(charge, Role.ACTION, token, now))
    return wire, book, client


async def test_a_call_of_an_async_method_is_a_request() -> None:
    """Its result comes back, and its name is told."""
    wire, book, till = office("clean")

    got = await till.do("charge:lamp")

    assert got == book.deeds[0].id
    assert [str(seen.point) for seen in wire.seen] == ["stall.charge#1"]
    assert wire.story[-1].text == "do for stall.charge#1: done"


@pytest.mark.parametrize(
    ("kind", "error", "deeds"),
    [
        ("outage", ConnectionRefusedError, 0),
        ("reply_lost", ConnectionResetError, 1),
        ("final_error", Unclassifiable, 1),
        ("refused", Refused, 0),
    ],
)
async def test_what_goes_wrong_is_raised_as_a_connection_has_it(kind: str, error: type[Exception], deeds: int) -> None:
    """The errors of the operating system, and the provider's own refusal."""
    _, book, till = office(f"stall.charge#1:{kind}")

    with pytest.raises(error):
        await till.do("charge:lamp")

    assert len(book.deeds) == deeds


async def test_a_system_that_cannot_refuse_is_offered_no_refusal() -> None:
    """Only a world knows how a system says no."""
    wire, _, till = office("clean", known_refusal=False)

    await till.do("charge:lamp")

    assert FaultKind.REFUSED not in wire.seen[0].kinds


async def test_a_safe_method_has_no_effect_to_lose() -> None:
    """A look-up is neither late nor twice."""
    wire, _, till = office("clean")

    await till.find("charge:lamp")

    assert not {FaultKind.TWICE, FaultKind.TOO_SLOW, FaultKind.CRASH_AFTER} & set(wire.seen[0].kinds)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"safe": ("fnid",)}, "safe=('fnid',) is no list of methods of 'Book', which has no 'fnid'"),
        ({"safe": "place"}, "safe='place' is no list of methods of 'Book'. Fix:"),
        ({"refused": declined()}, "refused=Refused("),
    ],
    ids=["misspelt", "no list", "no maker"],
)
def test_what_fits_no_client_is_refused(wrong: dict[str, Any], rule: str) -> None:
    """It is said when the world is built, and not in the middle of a scenario."""
    wire = Wire(Scenario(), Hand())

    with pytest.raises(DefinitionError, match=re.escape(rule)):
        wire.client(Book(), system="book", **wrong)


def test_everything_else_is_reached_as_it_is() -> None:
    """Attributes and plain methods are no requests."""
    wire = Wire(Scenario(), Hand())
    book = wire.client(Book(), system="book")

    book.place()

    assert book.taken == 1
    assert wire.seen == []


def test_a_refusal_is_the_kits_own_error() -> None:
    """So that the failure map reads it."""
    assert declined().kind is FailureKind.DECLINED
