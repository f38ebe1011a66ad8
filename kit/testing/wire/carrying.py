"""How a request is carried: numbered, seen, told, and met by the faults of the scenario.

::

    before     held: a hold stops the attempt, which counts as the call that it would have made
    admit      the call and the request get their numbers; outage
    deliver    crash_before
               at the provider: nothing (refused, rate_limited), later (late_*), twice, or once
               late requests that waited for this one
               cancel_during, terminated, started_again, handed_over
               armed for later: crash_recorded, cancel_with_result, unrecorded, stalled
               crash_after, no reply in time (too_slow, late_*)
               the reply: lost, unclassifiable, a proxy's, a refusal, or the provider's own

A request outside a connector's methods (setting a world up, reading its truth) is passed on and not seen.

Not modelled: a process that dies takes only the one attempt with it, not the others it has in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn, TypeVar

from kit.errors import Outcome
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import SERVER, WORKER, Seen
from kit.testing.wire.aftermath import Place
from kit.testing.wire.answers import Answers, Unclassifiable
from kit.testing.wire.applicable import kinds_of
from kit.testing.wire.controls import Controls, WorkerLost
from kit.testing.wire.late import LateRequest
from kit.testing.wire.witness import EPOCH, Witness
from kit.worker import Call, current_call
from kit.worker.work import UNDO_KEY_SUFFIX

T = TypeVar("T")

LATE: Final = (FaultKind.LATE_AFTER_RETRY, FaultKind.LATE_AFTER_UNDO)
ARMED: Final = (FaultKind.CRASH_RECORDED, FaultKind.CANCEL_WITH_RESULT)
"""Strike when the attempt ends."""
RECORDS: Final = (FaultKind.UNRECORDED, FaultKind.STALLED)
"""Strike when its result is written down."""
SERVERS: Final = {
    FaultKind.CANCEL_DURING: "is asked to cancel the run while {point} is at work",
    FaultKind.TERMINATED: "terminates the run while {point} is at work",
    FaultKind.STARTED_AGAIN: "starts the same request under another workflow id while {point} is at work",
    FaultKind.HANDED_OVER: "hands the run over to the previous version while {point} is at work",
}


@dataclass(slots=True)
class Execution:
    """One attempt of an activity, from its beginning to what Temporal hears of it.

    Attributes:
        armed: What strikes when it ends.
        undo: Whether it is an undo's; that may look up, or repeat, the action first.
    """

    armed: list[Fault] = field(default_factory=list)
    undo: bool = False


current_execution: Final[ContextVar[Execution | None]] = ContextVar("kit_current_execution", default=None)


@dataclass(slots=True)
class _Numbered:
    """A call and its number. It keeps the call alive, so that the call's identity stays its own."""

    call: Call
    number: int
    requests: int = 0
    stopped: Fault | None = None
    """An outage that lasts for the whole call."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has been let onto the wire."""

    numbered: _Numbered
    point: Point
    system: str
    answers: Answers[Any]
    faults: dict[FaultKind, Fault]
    kinds: tuple[FaultKind, ...]
    index: int
    late: timedelta

    @property
    def call(self) -> Call:
        """The call it belongs to."""
        return self.numbered.call

    @property
    def place(self) -> Place:
        """What is called."""
        return self.point.operation, self.point.role

    @property
    def key(self) -> str:
        """The key of the action, also in its undo."""
        return self.call.token.key.removesuffix(UNDO_KEY_SUFFIX)


class Carrier(Witness):
    """Carries the requests of one scenario."""

    def __init__(self, scenario: Scenario, controls: Controls) -> None:
        super().__init__(scenario, controls)
        self.without: frozenset[FaultKind] = frozenset()
        """What cannot go wrong with what runs here."""
        self.lost = False
        """Whether an attempt died with its worker."""
        self._calls: dict[int, _Numbered] = {}
        self._late: list[LateRequest] = []
        self._kinds: dict[tuple[object, ...], tuple[FaultKind, ...]] = {}
        self._latest = EPOCH
        self._landing: datetime | None = None

    @property
    def absorbed(self) -> bool:
        """See base class: nor is a request still on its way."""
        return not self._late and super().absorbed

    def time(self) -> datetime:
        """What time it is for the systems of the world: the server's, as the latest call knew it.

        While a late request lands it is when that happened, however much later the world notices.
        """
        if self._landing is not None:
            return self._landing
        call = current_call.get()
        self._latest = max(self._latest, EPOCH + self.controls.now() if call is None else call.clock())
        return self._latest

    # -- one request -----------------------------------------------------------------------------------------------

    async def carry(
        self,
        send: Callable[[], Awaitable[T]],
        *,
        system: str,
        answers: Answers[T],
        late: timedelta | None = None,
    ) -> T:
        """Carry one request: to its system and back, or as the scenario has it.

        Args:
            send: Lets the request take effect, and returns the reply. May be called more than once, and later.
            system: Where it goes, as the world calls it.
            answers: What its client sees when something goes wrong.
            late: Within which time the system has taken a request into effect, whoever has stopped waiting for it. By
                default what the operation's dependency says of itself (its settle time).

        Raises:
            WorkerLost: The worker dies.
            Exception: As ``answers`` has it.
        """
        request = await self.admit(system, answers, late=late)
        return await (send() if request is None else self.deliver(request, send))

    async def admit(self, system: str, answers: Answers[Any], *, late: timedelta | None = None) -> Request | None:
        """Let a request onto the wire; ``None`` when it belongs to no call. For wires with a connection to open first.

        Raises:
            Exception: As ``answers`` has it, when nobody can be reached.
        """
        call = current_call.get()
        if call is None:
            return None
        numbered = self._number(call)
        numbered.requests += 1
        point = Point(call.operation.name, call.role, numbered.number, numbered.requests)
        if self.on_point is not None:
            self.on_point(point)
        await self._land(
            late for late in self._late if self.well or (late.system == system and late.due <= self.time())
        )
        faults = {} if self.well else {fault.kind: fault for fault in self._faults.get(point, ())}
        lateness = call.operation.dependency.settle if late is None else late
        request = Request(
            numbered,
            point,
            system,
            answers,
            faults,
            self._kinds_of(call, answers, point, lateness),
            len(self.seen),
            lateness,
        )
        self._see(request)
        self._stop(request)
        return request

    async def deliver(self, request: Request, send: Callable[[], Awaitable[T]]) -> T:
        """Bring an admitted request to its system, and what comes back to its client.

        Raises:
            WorkerLost: The worker dies.
            Exception: As its ``answers`` have it.
        """
        point, system, faults, answers = request.point, request.system, request.faults, request.answers
        if (fault := faults.get(FaultKind.CRASH_BEFORE)) is not None:
            raise self._die(request, fault, f"the worker dies before the request of {point} goes out")
        answer = await self._at_provider(request, send)
        await self._land([late for late in self._late if self._triggers(request, late)])
        await self._meanwhile(request)
        self._arm(request)
        if (fault := faults.get(FaultKind.CRASH_AFTER)) is not None:
            raise self._die(request, fault, f"the worker dies after the request of {point}, before it is recorded")
        if (fault := _first(faults, (*LATE, FaultKind.TOO_SLOW))) is not None:
            if fault.kind is FaultKind.TOO_SLOW:
                self.strike(fault, system, f"{answers.what} for {point}: done, but the reply comes too late")
            self._see(request, fault=fault)
            await asyncio.get_running_loop().create_future()  # the guard's cut-off ends the attempt
        if (fault := self._loses(request)) is not None:
            self.strike(fault, system, f"{answers.what} for {point}: done, but the reply is lost")
            self._see(request, fault=fault)
            raise answers.lost()
        if (fault := faults.get(FaultKind.FINAL_ERROR)) is not None:
            self.strike(fault, system, f"{answers.what} for {point}: done, but the answer cannot be understood")
            self._see(request, fault=fault, outcome=Outcome.UNKNOWN)
            raise Unclassifiable(f"the answer to {answers.what} cannot be understood")
        return answer()

    def withdrawn(self, request: Request, what: str) -> None:
        """An admitted request that was never delivered: its client gave up on it."""
        self.tell(request.system, f"{what} for {request.point}: nothing is done")
        self._see(request, outcome=Outcome.NOT_STARTED)

    async def settle(self) -> None:
        """Let every late request land: the time is over within which they may."""
        await self._land(list(self._late))

    # -- before it goes out ----------------------------------------------------------------------------------------

    def _number(self, call: Call) -> _Numbered:
        numbered = self._calls.get(id(call))
        if numbered is None:
            number = self.count((call.operation.name, call.role))
            stopped = self.aftermath.down.pop(call.operation.name, None)
            numbered = self._calls[id(call)] = _Numbered(call, number, 0, None if self.well else stopped)
        return numbered

    def _stop(self, request: Request) -> None:
        """Raise what keeps the request from going out: nobody is there."""
        fault = request.numbered.stopped
        struck = request.faults.get(FaultKind.OUTAGE)
        if fault is None and struck is not None:
            fault = request.numbered.stopped = self.aftermath.down[request.point.operation] = struck
        if fault is None:
            return
        self._see(request, fault=fault, outcome=Outcome.NOT_STARTED, kinds=_of_the_start(request.kinds))
        self.strike(fault, request.system, f"{request.answers.what} for {request.point}: nobody answers the connection")
        raise request.answers.unreachable()

    # -- at the provider -------------------------------------------------------------------------------------------

    async def _at_provider(self, request: Request, send: Callable[[], Awaitable[T]]) -> Callable[[], T]:
        """What the system does, and what will give the reply."""
        point, answers, faults = request.point, request.answers, request.faults
        late = _first(faults, LATE)
        if late is not None:
            self._keep(request, late, send)
            return _no_reply
        this, refused = (request.place, request.key, point.request), self.aftermath.refused
        if (refusal := faults.get(FaultKind.REFUSED)) is not None:
            refused[this] = refusal
        refusal = None if self.well else refused.get(this)
        if refusal is not None:
            self.strike(refusal, request.system, f"{answers.what} for {point}: refused for good, nothing is done")
            self._see(request, fault=refusal, outcome=Outcome.REFUSED)
            return answers.refused
        if (limited := faults.get(FaultKind.RATE_LIMITED)) is not None:
            self.strike(limited, request.system, f"{answers.what} for {point}: too many requests, nothing is done")
            self._see(request, fault=limited, outcome=Outcome.NOT_STARTED)
            return answers.rate_limited
        reply = await send()
        said, outcome = answers.told(reply)
        if (twice := faults.get(FaultKind.TWICE)) is not None:
            self.strike(twice, request.system, f"{answers.what} for {point}: delivered a second time")
            reply = await send()
            said, again = answers.told(reply)
            if outcome in (Outcome.REFUSED, Outcome.NOT_STARTED):  # else the first has done something, whatever it says
                outcome = again
        if (proxy := faults.get(FaultKind.SERVER_ERROR)) is not None:
            self.strike(proxy, request.system, f"{answers.what} for {point}: done, but a proxy answers in its place")
            self._see(request, fault=proxy, outcome=Outcome.UNKNOWN)
            return answers.server_error
        self.tell(request.system, f"{answers.what} for {point}: {said}")
        self._see(request, fault=twice, outcome=outcome)
        return lambda: reply

    async def _meanwhile(self, request: Request) -> None:
        """What the server is told while the request is at its system."""
        for kind, text in SERVERS.items():
            if (fault := request.faults.get(kind)) is None:
                continue
            self.strike(fault, SERVER, text.format(point=request.point))
            match kind:
                case FaultKind.CANCEL_DURING:
                    await self.controls.cancel()
                case FaultKind.TERMINATED:
                    await self.controls.terminate()
                case FaultKind.STARTED_AGAIN:
                    await self.controls.start_again()
                case _:
                    await self.controls.hand_over()

    def _arm(self, request: Request) -> None:
        """Prepare what strikes after the call: at the record, and at the end of the attempt."""
        execution = current_execution.get()
        for kind in ARMED:
            if (fault := request.faults.get(kind)) is not None and execution is not None:
                execution.armed.append(fault)
        if (fault := _first(request.faults, RECORDS)) is not None:
            self.aftermath.records[request.key] = fault

    def _loses(self, request: Request) -> Fault | None:
        """The fault that loses this reply, if one does."""
        if (lost := request.faults.get(FaultKind.REPLIES_LOST)) is not None:
            self.aftermath.silent[request.place] = lost
        silent = None if self.well else self.aftermath.loses(request.place, request.point.call)
        return request.faults.get(FaultKind.REPLY_LOST) or silent

    def _die(self, request: Request, fault: Fault, text: str) -> WorkerLost:
        self.strike(fault, WORKER, text)
        self._see(request, fault=fault)
        self.lost = True
        return WorkerLost(text)

    # -- late requests ---------------------------------------------------------------------------------------------

    def _keep(self, request: Request, fault: Fault, send: Callable[[], Awaitable[Any]]) -> None:
        # The request may have left as late as its attempt was cut off: from then on it takes its system's time.
        due = (request.call.token.deadline or self.time()) + request.late
        self._late.append(LateRequest(send, request.system, request.key, id(request.call), due, fault))
        self.strike(fault, request.system, f"{request.answers.what} for {request.point}: on its way, not there yet")

    def _triggers(self, request: Request, late: LateRequest) -> bool:
        return late.waits_for(
            key=request.key, call=id(request.call), role=request.point.role, safe=request.answers.safe
        )

    async def _land(self, due: Iterable[LateRequest]) -> None:
        for late in list(due):
            self._late.remove(late)
            self.tell(late.system, f"the late request of {late.fault.point} arrives and takes effect", fault=late.fault)
            self._landing = min(late.due, self.time())
            try:
                await late.send()
            except Exception as error:  # nobody waits for its reply any more, whatever it is
                self.tell(late.system, f"the late request of {late.fault.point} fails: {error!r}", fault=late.fault)
            finally:
                self._landing = None

    # -- what was seen ---------------------------------------------------------------------------------------------

    def _see(
        self,
        request: Request,
        *,
        fault: Fault | None = None,
        outcome: Outcome | None = None,
        kinds: tuple[FaultKind, ...] | None = None,
    ) -> None:
        token = request.call.token
        execution = current_execution.get()
        persistent = token.persistent or (execution is not None and execution.undo)
        seen = Seen(
            request.point,
            token.workflow_id,
            token.key,
            token.attempt,
            fault,
            outcome,
            request.kinds if kinds is None else kinds,
            persistent,
        )
        if request.index == len(self.seen):
            self.seen.append(seen)
        else:
            self.seen[request.index] = seen

    def _kinds_of(self, call: Call, answers: Answers[Any], point: Point, late: timedelta) -> tuple[FaultKind, ...]:
        place = (point.operation, point.role, point.request == 1, type(answers), answers.safe, late)
        found = self._kinds.get(place)
        if found is None:
            kinds = kinds_of(call, answers, first=point.request == 1, late=late)
            found = self._kinds[place] = tuple(kind for kind in kinds if kind not in self.without)
        return found


def _first(faults: dict[FaultKind, Fault], kinds: Iterable[FaultKind]) -> Fault | None:
    return next((faults[kind] for kind in kinds if kind in faults), None) if faults else None


def _of_the_start(kinds: Iterable[FaultKind]) -> tuple[FaultKind, ...]:
    """What can strike a call of which nothing goes out."""
    return tuple(kind for kind in kinds if kind in (FaultKind.CANCEL_BEFORE, FaultKind.HELD))


def _no_reply() -> NoReturn:
    raise AssertionError("a late request has no reply")
