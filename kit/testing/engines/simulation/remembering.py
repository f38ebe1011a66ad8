"""What connectors remember from one call to the next: a part of the state of a scenario.

A connector is code under test, and what it keeps decides what it asks for next: that it has logged in, that it goes
to another host since a connection broke, what it has looked up before. No world tells of that; so it is read off the
connectors themselves. Told is plain data, as far as a connector's own objects lead: its attributes, containers in them,
and other objects of the service. What leads out of it (a client, whatever is the kit's or another library's) is not: of
the systems behind it the world tells. But for the cookies that an HTTP client was given: it sends them along.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import httpx
from pydantic import BaseModel

from kit.testing.engines.simulation.rewinding import attributes_of
from kit.worker import Connector

_PLAIN: Final = (
    *(str, bytes, bytearray, int, float, complex, bool, type(None)),
    *(Enum, date, time, timedelta, Decimal, UUID, BaseModel, itertools.count),
)
"""What says of itself all that it holds."""


def memory_of(connectors: Iterable[Connector]) -> tuple[object, ...]:
    """What connectors remember, so that what is equal is written equally."""
    return tuple(_told(each, ()) for each in connectors)


def _told(one: Any, through: tuple[int, ...]) -> object:
    """What an object holds.

    Args:
        one: The object.
        through: Those that it was come to by: of one that holds itself nothing more is told.
    """
    kind = type(one)  # not what it stands for: a client of the wire says that it is what it carries requests to
    if issubclass(kind, _PLAIN):
        return repr(one)
    if issubclass(kind, random.Random):
        return one.getstate()
    if issubclass(kind, httpx.AsyncClient):
        return [(cookie.domain, cookie.path, cookie.name, cookie.value) for cookie in one.cookies.jar]
    if id(one) in through:
        return None
    through = (*through, id(one))
    if issubclass(kind, dict):
        return [(_told(key, through), _told(value, through)) for key, value in one.items()]
    if issubclass(kind, set | frozenset):
        return sorted(repr(_told(each, through)) for each in one)
    if issubclass(kind, list | tuple | deque):
        return [_told(each, through) for each in one]
    if kind.__module__.partition(".")[0] == "kit":
        return None
    return [(name, _told(value, through)) for name, value in attributes_of(one)]
