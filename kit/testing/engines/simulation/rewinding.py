"""Bringing a scene back to an earlier moment: what every object of it held then, written back in place.

A scenario with one more fault is the run of the others up to the point at which that fault strikes. So the others are
run once, and from then on each such scenario begins at a moment shortly before its point. Copying the scene would not
do: closures and bound methods would know the original. So its objects stay, and get back what they held.

What is walked is what a scene can reach: containers, the kit's objects, those of the world and of the connectors, and
what closures hold. What is not: classes, modules, running coroutines, and the objects of other libraries (an HTTP
client, a router), which hold nothing that an answer depends on; but for the cookies of an HTTP client. An object that
holds something out of sight, such as a database, says itself how to bring it back (`Keeping`). Whether it is all there
is not taken for granted: whoever rewinds compares what the world tells of itself (`World.state`).
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from http.cookiejar import Cookie, CookieJar
from typing import Any, Final

import httpx
from google.protobuf.message import Message
from pydantic import BaseModel

from kit.testing.wire.keeping import Keeping


class Memento:
    """What everything that can be reached held at one moment.

    Args:
        roots: Where to begin.
        without: Objects that are left as they are.
    """

    def __init__(self, roots: Iterable[object], *, without: Iterable[object] = ()) -> None:
        self._back: list[Callable[[], None]] = []
        self._kept: list[Callable[[], None]] = []
        self._seen: dict[int, object] = {id(one): one for one in without}
        waiting = list(roots)
        while waiting:
            one = waiting.pop()
            if id(one) not in self._seen and not _immutable(_type(one)):
                self._seen[id(one)] = one  # kept alive, so that its identity stays its own
                waiting.extend(self._take(one))
        self._seen.clear()

    def __len__(self) -> int:
        """How many objects are brought back."""
        return len(self._back) + len(self._kept)

    def restore(self) -> None:
        """Bring it all back."""
        for back in (*self._back, *self._kept):
            back()

    def _take(self, one: Any) -> Iterable[object]:
        """Remember what an object holds; returns what is to be walked from it."""
        kind = type(one)
        if kind is tuple or kind is frozenset:
            return one  # type: ignore[no-any-return]  # iterated only
        if isinstance(one, dict):
            values = _Values(one.values(), one.keys())
            kept = dict(zip(one.keys(), one.values(), strict=True)) if values.plain else values.named
            self._back.append(functools.partial(_fill_dict, one, kept))
            return itertools.chain(one.keys(), tuple(one.values()))
        if isinstance(one, list):
            values = _Values(one)
            self._back.append(functools.partial(_fill_list, one, tuple(one) if values.plain else values))
            return tuple(one)
        if isinstance(one, set | deque):
            self._back.append(functools.partial(_fill, one, _Values(one)))
            return tuple(one)
        if kind is types.FunctionType:
            return one.__closure__ or ()
        if kind is types.CellType:
            return self._cell(one)
        if kind is types.MethodType:
            return (one.__self__, one.__func__)
        if isinstance(one, functools.partial):
            return (one.func, one.args, one.keywords)
        if isinstance(one, random.Random):
            self._back.append(functools.partial(one.setstate, one.getstate()))
            return ()
        if issubclass(kind, httpx.AsyncClient):
            self._back.append(functools.partial(_fill_jar, one.cookies.jar, tuple(one.cookies.jar)))
        return self._instance(one) if _walked(_type(one)) else ()

    def _cell(self, cell: types.CellType) -> Iterable[object]:
        try:
            content = cell.cell_contents
        except ValueError:
            return ()
        self._back.append(functools.partial(_fill_cell, cell, content))
        return (content,)

    def _instance(self, one: Any) -> Iterable[object]:
        kind = _type(one)
        names, values = [], []
        for name in _slots(kind):
            if hasattr(one, name):
                names.append(name)
                values.append(getattr(one, name))
        if not _frozen(kind):
            if names:
                self._back.append(functools.partial(_fill_slots, one, _Values(values, names)))
            if issubclass(kind, Keeping):  # whoever stands for another object would answer for that
                self._kept.append(one.keep())
        attributes = getattr(one, "__dict__", None)
        if attributes is not None:
            values.append(attributes)
        return values


def attributes_of(one: object) -> list[tuple[str, Any]]:
    """What an object holds under which name; nothing of one that is not gone into."""
    kind = _type(one)
    if not _walked(kind):
        return []
    slots = [(name, getattr(one, name)) for name in _slots(kind) if hasattr(one, name)]
    return [*slots, *sorted(getattr(one, "__dict__", {}).items())]


class _Values:
    """Values, and their names where they have some. Those that change in themselves are renewed each time."""

    __slots__ = ("_names", "_values", "plain")

    def __init__(self, values: Iterable[Any], names: Iterable[Any] | None = None) -> None:
        self._values = tuple(values)
        self._names = None if names is None else tuple(names)
        self.plain = True
        for value in self._values:
            kind = type(value)
            if kind is itertools.count or (isinstance(value, asyncio.Future) and not value.done()):
                self.plain = False
        if not self.plain:
            self._values = tuple(copy.copy(v) if type(v) is itertools.count else v for v in self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values if self.plain else [_renewed(value) for value in self._values])

    def named(self) -> Iterator[tuple[Any, Any]]:
        """Name and value of each."""
        return zip(self._names or (), self, strict=True)


def _renewed(value: Any) -> Any:
    if type(value) is itertools.count:
        return copy.copy(value)
    if isinstance(value, asyncio.Future) and not isinstance(value, asyncio.Task):
        return value.get_loop().create_future()  # nobody waits for it at a moment to which one comes back
    return value


def _fill_dict(one: dict[Any, Any], values: dict[Any, Any] | Callable[[], Iterable[tuple[Any, Any]]]) -> None:
    dict.clear(one)
    dict.update(one, values if isinstance(values, dict) else values())


def _fill_list(one: list[Any], values: Iterable[Any]) -> None:
    one[:] = values


def _fill(one: Any, values: _Values) -> None:
    one.clear()
    (one.update if isinstance(one, set) else one.extend)(values)


def _fill_jar(jar: CookieJar, cookies: Iterable[Cookie]) -> None:
    jar.clear()
    for cookie in cookies:
        jar.set_cookie(cookie)


def _fill_cell(cell: types.CellType, content: Any) -> None:
    cell.cell_contents = content


def _fill_slots(one: Any, values: _Values) -> None:
    for name, value in values.named():
        setattr(one, name, value)


# --- which objects hold something that changes ------------------------------------------------------------------------


def _type(one: object) -> Any:
    return type(one)  # to mypy, a class is not hashable


_DATA: Final = ("kit.contract", "kit.errors", "kit.testing.faults", "kit.testing.runs", "kit.ledger.states")
"""Modules whose objects never change once they are made."""

_OTHERS: Final = frozenset(
    {"temporalio", "google", "httpx", "httpcore", "starlette", "sqlalchemy", "pydantic", "pydantic_core", "structlog"}
    | {"aiosmtplib", "opentelemetry", "anyio", "standardwebhooks", "annotated_types"}
)
"""Libraries whose objects hold nothing that an answer depends on."""


@functools.cache
def _immutable(kind: type) -> bool:
    """Whether there is nothing to bring back of objects of this type, nor of what they hold."""
    if kind in (int, str, bytes, bool, float, type(None), types.ModuleType, types.BuiltinFunctionType):
        return True
    return issubclass(kind, type | Enum | Message | BaseException) or kind.__module__.startswith(_DATA)


@functools.cache
def _walked(kind: type) -> bool:
    """Whether objects of this type are gone into."""
    if issubclass(kind, asyncio.Handle):
        return True
    room = kind.__module__.partition(".")[0]
    if issubclass(kind, BaseModel):
        return room not in _OTHERS and not kind.model_config.get("frozen", False)
    return room not in sys.stdlib_module_names and room not in _OTHERS


@functools.cache
def _frozen(kind: type) -> bool:
    return is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # every dataclass has it


@functools.cache
def _slots(kind: type) -> tuple[str, ...]:
    names: list[str] = []
    for cls in kind.__mro__:
        room = cls.__module__.partition(".")[0]
        if room in _OTHERS or (room in sys.stdlib_module_names and not issubclass(cls, asyncio.Handle)):
            continue
        found = cls.__dict__.get("__slots__", ())
        for name in (found,) if isinstance(found, str) else found:
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{cls.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in names if name not in ("__weakref__", "__dict__"))
