"""The wire of any other client: each call of one of its async methods is a request."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, ClassVar

from kit.errors import DefinitionError
from kit.testing.faults import FaultKind
from kit.testing.wire.answers import ON_EVERY_WIRE, Answers
from kit.testing.wire.carrying import Carrier

Refusing = Callable[[], BaseException]
"""Makes what a client raises when its system says no."""


class CallAnswers(Answers[Any]):
    """What the caller of a plain object sees: the errors of a connection, as the operating system has them."""

    def __init__(self, what: str, *, safe: bool) -> None:
        self.what = what
        self.safe = safe

    def unreachable(self) -> BaseException:
        """See base class."""
        return ConnectionRefusedError("nobody answers the connection")

    def lost(self) -> BaseException:
        """See base class."""
        return ConnectionResetError("the connection was closed before the reply")


class RefusingAnswers(CallAnswers):
    """The same, of a system that can say no."""

    offers: ClassVar[frozenset[FaultKind]] = ON_EVERY_WIRE | {FaultKind.REFUSED}

    def __init__(self, what: str, *, safe: bool, refused: Refusing) -> None:
        super().__init__(what, safe=safe)
        self._refused = refused

    def refused(self) -> Any:
        """See base class."""
        raise self._refused()


class WireClient:
    """Stands for an object, and carries the calls of its async methods.

    Args:
        carrier: Carries them.
        target: The object: a client, or a provider itself.
        system: Its name.
        safe: The methods that change nothing.
        refused: Makes what is raised when it says no; without, it never does.
        late: See `Carrier.carry`.

    Raises:
        DefinitionError: The object has no method that is said to be safe; ``refused`` makes nothing.
    """

    def __init__(
        self,
        carrier: Carrier,
        target: Any,
        *,
        system: str,
        safe: Collection[str] = (),
        refused: Refusing | None = None,
        late: timedelta | None = None,
    ) -> None:
        _check(target, system, safe, refused)
        self._carrier = carrier
        self._target = target
        self._system = system
        self._safe = frozenset(safe)
        self._refused = refused
        self._late = late

    def __getattr__(self, name: str) -> Any:
        """An attribute of the object; its async methods go over the wire."""
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def carried(*arguments: Any, **named: Any) -> Any:
            async def send() -> Any:
                return await found(*arguments, **named)

            answers = self._answers(name)
            return await self._carrier.carry(send, system=self._system, answers=answers, late=self._late)

        return carried

    def _answers(self, name: str) -> CallAnswers:
        safe = name in self._safe
        if self._refused is None:
            return CallAnswers(name, safe=safe)
        return RefusingAnswers(name, safe=safe, refused=self._refused)


def _check(target: object, system: str, safe: Collection[str], refused: object) -> None:
    named = [safe] if isinstance(safe, str) else safe
    unknown = [name for name in named if not hasattr(target, name)]
    if isinstance(safe, str) or unknown:
        kind = type(target).__name__
        raise DefinitionError(
            f"wire.client of {system!r}",
            rule=f"safe={safe!r} is no list of methods of {kind!r}"
            + (f", which has no {unknown[0]!r}" if unknown else ""),
            fix="name those that change nothing: safe=['find']",
        )
    if refused is not None and not callable(refused):
        raise DefinitionError(
            f"wire.client of {system!r}",
            rule=f"refused={refused!r} makes no error",
            fix="pass what makes a new one each time: lambda: Full('no room')",
        )
