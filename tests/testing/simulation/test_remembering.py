"""What connectors remember, read off them."""

import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kit.testing.engines.simulation.remembering import memory_of
from kit.testing.engines.simulation.rewinding import Memento
from tests.worlds.two_steps import Stall


class Session:
    """An object of the service that a connector holds."""

    def __init__(self) -> None:
        self.number = 1
        self.itself = self


def remembering(**held: Any) -> tuple[Stall, tuple[object, ...]]:
    """A connector that holds something, and what it remembers."""
    connector = Stall(object(), object())  # type: ignore[arg-type] # nobody calls them
    for name, value in held.items():
        setattr(connector, name, value)
    return connector, memory_of([connector])


@pytest.mark.parametrize(
    ("held", "changed"),
    [
        (1, lambda stall: setattr(stall, "held", 2)),
        ({"a": {1}}, lambda stall: stall.held["a"].add(2)),
        ([(1, [2])], lambda stall: stall.held[0][1].append(3)),
        (itertools.count(), lambda stall: next(stall.held)),
        (Session(), lambda stall: setattr(stall.held, "number", 2)),
        (httpx.AsyncClient(), lambda stall: stall.held.cookies.set("session", "2", domain="shop.test")),
    ],
    ids=["attribute", "dict", "list", "count", "object", "cookies"],
)
def test_change_of_what_is_remembered_is_told(held: Any, changed: Callable[[Any], None]) -> None:
    """Wherever in the connector's own objects it is."""
    connector, before = remembering(held=held)

    changed(connector)

    assert memory_of([connector]) != before


def test_two_connectors_that_remember_the_same_are_told_alike() -> None:
    """In another world everything is another object."""
    _, one = remembering(known={"a": {"x", "y"}}, session=Session())

    _, other = remembering(known={"a": {"y", "x"}}, session=Session())

    assert one == other


def test_cookies_of_a_client_are_brought_back() -> None:
    """What a system has told it since, it has never been told."""
    client = httpx.AsyncClient(cookies={"session": "1"})
    memento = Memento([Stall(client, client)])  # type: ignore[arg-type] # nobody calls them
    client.cookies.set("session", "2")
    client.cookies.set("seen", "yes")

    memento.restore()

    assert dict(client.cookies) == {"session": "1"}
