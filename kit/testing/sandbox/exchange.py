"""One call to a provider: the order in which a fault, an idempotency key and the effect meet.

    arrival ── drop_before / rate_limit / unavailable ──> no effect, nothing remembered
       │
       ├── known idempotency key ──> the remembered reply (no effect)
       │
    execution ── refuse ──> no effect;  error_after ──> effect, then 500
       │
    reply ── drop_reply / delay

The execution itself never awaits, so an effect and its record cannot be torn apart by a client that goes
away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kit.testing.sandbox.faults import Fault, FaultKind, FaultScript, Operation, Provider
from kit.testing.sandbox.records import NOBODY, Caller, CallNote, Journal, OpenCall

Sleep = Callable[[float], Awaitable[None]]

_EXECUTION = frozenset({FaultKind.REFUSE, FaultKind.ERROR_AFTER})


class ConnectionDropped(Exception):
    """The provider goes away without a reply.

    The seam between a provider and what carries it: the socket server closes the TCP connection, the
    in-process transport raises what httpx would have raised.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider answers.

    Attributes:
        body: JSON content, or text for SMTP; None for an empty body.
        remember: Whether an idempotency key brings the same reply again.
        note: Why a success had no new effect.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    remember: bool = True
    note: CallNote | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a provider needs to know of one call before it executes it."""

    operation: Operation
    method: str
    path: str
    reference: str
    caller: Caller = NOBODY


class KeySlot(Protocol):
    """The place of one idempotency key in its provider's memory."""

    def known(self) -> Reply | None:
        """The reply owed to a key that was seen before; None for a new one."""

    def begin(self) -> None:
        """The key is in use from now on."""

    def end(self, reply: Reply) -> None:
        """The call is over; `reply` is what it came to, whether or not the caller got it."""


class FaultReplies(Protocol):
    """How one provider words the faults it is told to have."""

    def __call__(self, fault: Fault, request: Request) -> Reply:
        """The reply to `refuse`, `unavailable`, `rate_limit` or `error_after`."""


@dataclass(slots=True)
class Exchange:
    """What all providers of one sandbox share."""

    journal: Journal = field(default_factory=Journal)
    script: FaultScript = field(default_factory=FaultScript)
    sleep: Sleep = asyncio.sleep

    async def serve(
        self,
        provider: Provider,
        request: Request,
        *,
        execute: Callable[[], Reply],
        fault_reply: FaultReplies,
        key: KeySlot | None = None,
    ) -> Reply:
        """Serve one call, under the fault the script holds for it.

        Raises:
            ConnectionDropped: The script says that the caller gets no reply.
        """
        call = self._open(provider, request)
        known = key.known() if key else None
        leave = _EXECUTION if known else frozenset()
        fault = self.script.take(provider, request.operation, request.reference, leave=leave)
        if fault:
            call.faulted(fault.fault)
        if early := self._before(fault, request, fault_reply):
            return self._answer(call, early)
        if known:
            return self._answer(call, await self._after(fault, known))
        if key:
            key.begin()
        reply = Reply(500, remember=False)  # stands only if `execute` has a defect and raises
        try:
            reply = self._execute(fault, request, execute, fault_reply)
            return self._answer(call, await self._after(fault, reply))
        finally:
            if key:
                key.end(reply)

    def answer(self, provider: Provider, request: Request, reply: Reply) -> Reply:
        """Record a call turned away at the door (bad credentials, bad input), and return the reply."""
        return self._answer(self._open(provider, request), reply)

    def _open(self, provider: Provider, request: Request) -> OpenCall:
        return self.journal.received(
            provider,
            request.operation,
            method=request.method,
            path=request.path,
            reference=request.reference,
            caller=request.caller,
        )

    @staticmethod
    def _answer(call: OpenCall, reply: Reply) -> Reply:
        call.answered(reply.status)
        if reply.note:
            call.noted(reply.note)
        return reply

    @staticmethod
    def _before(fault: Fault | None, request: Request, fault_reply: FaultReplies) -> Reply | None:
        match fault.fault if fault else None:
            case FaultKind.DROP_BEFORE:
                raise ConnectionDropped("before the effect")
            case FaultKind.UNAVAILABLE | FaultKind.RATE_LIMIT if fault:
                return fault_reply(fault, request)
            case _:
                return None

    @staticmethod
    def _execute(
        fault: Fault | None, request: Request, execute: Callable[[], Reply], fault_reply: FaultReplies
    ) -> Reply:
        if fault and fault.fault is FaultKind.REFUSE:
            return fault_reply(fault, request)
        reply = execute()
        if fault and fault.fault is FaultKind.ERROR_AFTER:
            return fault_reply(fault, request)
        return reply

    async def _after(self, fault: Fault | None, reply: Reply) -> Reply:
        if fault and fault.fault is FaultKind.DROP_REPLY:
            raise ConnectionDropped("after the effect")
        if fault and fault.seconds is not None:
            await self.sleep(fault.seconds)
        return reply
