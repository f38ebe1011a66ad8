"""Whether an invariant of the user asks for the way that led to an end, and not for the end alone.

Two runs are taken for one where they come into the same state, and a state does not tell how often something was tried,
what was requested on the way, or when: no rule of the kit decides anything by it. A rule of the user may. So what an
invariant can name is read off its code: that of the function, of what it defines, and of the service's functions that
it calls.
"""

from __future__ import annotations

import functools
import inspect
import sysconfig
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from kit.testing.world import Invariant, Subject

_WAY: Final = frozenset(
    {"seen", "story", "history", "unreached"}
    | {"attempts", "revision", "first_claimed_at", "updated_at", "expires_at"}
    | {"retry_count", "duration_ms", "opened_at", "due_at", "decided_at"}
)
"""What of a `kit.testing.Run`, of its ledger rows, of its summary and of its tasks is no part of a state."""

_INSTALLED: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def asks_for_the_way(subject: Subject) -> Invariant | None:
    """The first of the user's invariants that does.

    It is better to find too much: then every scenario is run to its end, which is slower and no less exact.
    """
    mine = (one for one in subject.invariants if isinstance(one, Invariant))
    return next((one for one in mine if not _WAY.isdisjoint(_named(one.check, subject.world))), None)


def _named(check: Callable[..., Any], world: Callable[..., Any]) -> frozenset[str]:
    """Every name and every string in a function, in the service's functions that it calls, and in the world's."""
    found: set[str] = set()
    waiting: list[Any] = [check]
    visited: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in visited:
            continue
        visited.add(id(one))
        if isinstance(one, type):
            waiting += vars(one).values()
        elif not isinstance(one, FunctionType | ModuleType):
            waiting.append(type(one))
        function = _function(one)
        if function is not None and not _elsewhere(function):
            names = _names(function.__code__)
            found |= names
            waiting += _called(function, names)
            waiting += (inspect.getattr_static(world, name, None) for name in names)
    return frozenset(found)


def _function(one: Any) -> FunctionType | None:
    while not isinstance(one, FunctionType):
        if isinstance(one, functools.partial | property):
            one = one.func if isinstance(one, functools.partial) else one.fget
        elif isinstance(one, MethodType | staticmethod | classmethod):
            one = one.__func__
        else:
            call = getattr(type(one), "__call__", None)  # noqa: B004 - the method itself, not whether there is one
            return call if isinstance(call, FunctionType) else None
    return one


def _elsewhere(function: FunctionType) -> bool:
    """Whether it is the kit's or a library's."""
    room = (function.__module__ or "").partition(".")[0]
    return room == "kit" or function.__code__.co_filename.startswith(_INSTALLED)


@functools.cache
def _names(code: CodeType) -> frozenset[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
        elif isinstance(constant, str):
            found.add(constant)
    return frozenset(found)


def _called(function: FunctionType, names: frozenset[str]) -> Iterator[Any]:
    """What a function may call: what it finds in its module, in the modules it names, and in what encloses it."""
    known = [function.__globals__[name] for name in names if name in function.__globals__]
    yield from known
    for module in known:
        if isinstance(module, ModuleType):
            yield from (vars(module).get(name) for name in names)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
