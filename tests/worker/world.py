"""A small world for the guard: a provider that keeps its own record, connectors over it, and a clock that jumps.

Nothing here is taken on the word of the code under test: what happened is what the provider wrote down.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from temporalio.exceptions import ApplicationError

from kit.contract import (
    Breaker,
    Dependency,
    Effect,
    FailureDetails,
    FailureKind,
    Model,
    Once,
    Operation,
    Outcome,
    RateLimit,
    Retry,
    Token,
    Undo,
    UndoRequest,
)
from kit.errors import LedgerUnavailable, OperationFailure
from kit.ledger import Command, Entry, Ledger, MemoryLedger, Verdict
from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.guard import Guard
from kit.worker.work import LEASE_MARGIN

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT: Final = timedelta(seconds=10)
LEASE: Final = TIMEOUT + LEASE_MARGIN
"""How long an attempt holds its row from the instant at which the server started it."""
SETTLE: Final = timedelta(seconds=5)
KEY_TTL: Final = timedelta(hours=24)


# --- time ---------------------------------------------------------------------------------------------------------


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing is left to wait for: the test would hang")
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual.now


def clock() -> float:
    """The seconds of the running loop."""
    return asyncio.get_running_loop().time()


def now() -> datetime:
    """The server's time."""
    return EPOCH + timedelta(seconds=clock())


class Tripwire:
    """Counts every touch of the outside, before it and after it, and raises at one of them.

    Args:
        at: At which touch, from 0; ``None`` for never.
        error: What is raised.
        ledger_only: Count the ledger's touches only.
    """

    def __init__(self, at: int | None, error: BaseException, *, ledger_only: bool = False) -> None:
        self.left = at
        self.error = error
        self.ledger_only = ledger_only

    def touch(self, *, ledger: bool) -> None:
        """One touch of the outside."""
        if self.left is None or (self.ledger_only and not ledger):
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise self.error

    @property
    def reached(self) -> bool:
        """Whether it has raised."""
        return self.left is None


# --- the provider -------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The worker died here: nothing after this line runs."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one call.

    Attributes:
        before: Raised before the effect.
        after: Raised after the effect.
        late: The effect happens this much later, and the reply is lost.
        wait: Passes before the effect.
        hang: Passes after the effect.
        gives: Returned instead of the true result.
    """

    before: BaseException | None = None
    after: BaseException | None = None
    late: float | None = None
    wait: float = 0.0
    hang: float = 0.0
    gives: Any = None


def http_error(status: int, headers: Mapping[str, str] | None = None) -> httpx.HTTPStatusError:
    """An error response."""
    request = httpx.Request("POST", "http://bank.test/charges")
    response = httpx.Response(status, headers=dict(headers or {}), request=request)
    return httpx.HTTPStatusError(f"status {status}", request=request, response=response)


OK: Final = Fault()
LOST: Final = Fault(after=httpx.ReadTimeout("the reply was lost"))
UNSENT: Final = Fault(before=httpx.ConnectError("nobody listens"))
VANISHED: Final = Fault(before=httpx.ReadTimeout("neither arrived nor answered"))
DECLINED: Final = Fault(before=http_error(402))
CRASH_BEFORE: Final = Fault(before=Crash("before the effect"))
CRASH_AFTER: Final = Fault(after=Crash("after the effect"))
LATE: Final = Fault(late=3.0)
BUG: Final = Fault(before=KeyError("amount"))


@dataclass
class Charge:
    """One effect, as the provider wrote it down."""

    key: str
    amount: int
    id: str
    live: bool = True


class Provider:
    """A bank. It honours keys for ``remembers``, or not at all when that is zero.

    Attributes:
        at_work: How many calls are under way.
        most_at_work: How many ever were under way at once.
    """

    def __init__(self, *, remembers: timedelta) -> None:
        self.remembers = remembers
        self.tripwire = Tripwire(None, Crash())
        self.charges: list[Charge] = []
        self.calls: Counter[str] = Counter()
        self.at_work = 0
        self.most_at_work = 0
        self.faults: dict[str, deque[Fault]] = {"charge": deque(), "void": deque(), "find": deque()}
        self._keys: dict[str, tuple[float, Charge]] = {}

    def live(self, key: str) -> int:
        """How many effects of one key are live: the truth."""
        return sum(charge.live for charge in self.charges if charge.key == key)

    def made(self, key: str) -> int:
        """How many effects of one key there ever were."""
        return sum(charge.key == key for charge in self.charges)

    async def charge(self, key: str, amount: int) -> Any:
        """Charge once per key, as far as keys are honoured."""
        with self._working():
            fault = await self._begin("charge")
            if fault.late is not None:
                asyncio.get_running_loop().call_later(fault.late, self._charge, key, amount)
                raise httpx.ReadTimeout("late")
            return await self._end(fault, self._charge(key, amount).id)

    async def void(self, key: str) -> None:
        """Take back what is live under the key; nothing is fine too."""
        with self._working():
            fault = await self._begin("void")
            for charge in self.charges:
                if charge.key == key:
                    charge.live = False
            await self._end(fault, None)

    async def find(self, key: str) -> Any:
        """The id of a live effect."""
        with self._working():
            fault = await self._begin("find")
            found = next((charge.id for charge in self.charges if charge.key == key and charge.live), None)
            return await self._end(fault, found)

    @contextmanager
    def _working(self) -> Iterator[None]:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            yield
        finally:
            self.at_work -= 1

    def _charge(self, key: str, amount: int) -> Charge:
        since, known = self._keys.get(key, (0.0, None))
        if known is not None and clock() < since + self.remembers.total_seconds():
            return known
        charge = Charge(key, amount, f"ch_{len(self.charges) + 1}")
        self.charges.append(charge)
        if self.remembers:
            self._keys[key] = (clock(), charge)
        return charge

    async def _begin(self, call: str) -> Fault:
        self.tripwire.touch(ledger=False)
        self.calls[call] += 1
        fault = self.faults[call].popleft() if self.faults[call] else OK
        if fault.wait:
            await asyncio.sleep(fault.wait)
        if fault.before is not None:
            raise fault.before
        return fault

    async def _end(self, fault: Fault, result: Any) -> Any:
        if fault.hang:
            await asyncio.sleep(fault.hang)
        self.tripwire.touch(ledger=False)
        if fault.after is not None:
            raise fault.after
        return result if fault.gives is None else fault.gives


# --- contract and connector ---------------------------------------------------------------------------------------


class Pay(Model):
    """A request."""

    order_id: str
    amount: int = 100


class Receipt(Model):
    """A result."""

    charge: str


@dataclass(frozen=True)
class Strategy:
    """A once-strategy, with or without look-up, and the provider that keeps its promise."""

    name: str
    once: Once
    probe: bool
    remembers: timedelta

    def __str__(self) -> str:
        return self.name


KEY: Final = Strategy("key", Once.by_key(ttl=KEY_TTL), probe=False, remembers=KEY_TTL)
KEY_PROBE: Final = Strategy("key+probe", Once.by_key(ttl=KEY_TTL), probe=True, remembers=KEY_TTL)
PROBE: Final = Strategy("probe", Once.by_probe(), probe=True, remembers=timedelta(0))
# Compare and write: once written, a repetition finds the state changed for ever.
STATE: Final = Strategy("state", Once.by_state(), probe=False, remembers=timedelta(days=3650))
STATE_PROBE: Final = Strategy("state+probe", Once.by_state(), probe=True, remembers=timedelta(days=3650))
NEVER: Final = Strategy("never twice", Once.never_twice(), probe=False, remembers=timedelta(0))
NEVER_PROBE: Final = Strategy("never twice+probe", Once.never_twice(), probe=True, remembers=timedelta(0))
STRATEGIES: Final = (KEY, KEY_PROBE, PROBE, STATE, STATE_PROBE, NEVER, NEVER_PROBE)
REPEATING: Final = (KEY, KEY_PROBE, STATE, STATE_PROBE)
"""Strategies that resolve a doubt by doing it again."""
KNOWING: Final = (KEY, KEY_PROBE, PROBE, STATE, STATE_PROBE)
"""Strategies with which a machine can resolve a doubt."""


def dependency(
    *,
    settle: timedelta = SETTLE,
    breaker: Breaker | None = None,
    limit: RateLimit | None = None,
    retry: Mapping[FailureKind, Retry] | None = None,
) -> Dependency:
    """The bank, as its contract describes it."""
    return Dependency(
        name="bank", owner="payments", settle=settle, breaker=breaker, limit=limit, retry=dict(retry or {})
    )


class Bank(Connector):
    """Base of the connectors: has the provider, and may be told how to classify."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.tokens: list[Token] = []
        self.says: OperationFailure | Exception | None = None

    def classify(self, error: Exception) -> OperationFailure | None:
        """What the test says."""
        if self.says is not None and not isinstance(self.says, OperationFailure):
            raise self.says
        return self.says


def bank(
    provider: Provider, *, once: Once | None, effect: Effect, probe: bool, dependency: Dependency
) -> tuple[Operation[Any, Any], Bank]:
    """An operation and its connector."""
    key = None if effect is Effect.READ else "pay:{order_id}"
    operation = Operation(
        "bank.pay", Pay, Receipt, dependency=dependency, effect=effect, once=once, key=key, timeout=TIMEOUT
    )

    class ThisBank(Bank):
        @operation.action
        async def pay(self, request: Pay, token: Token) -> Receipt:
            self.tokens.append(token)
            return _receipt(await self.provider.charge(request.order_id, request.amount))

        if effect.undoable:

            @operation.compensation
            async def void(self, undo: Undo[Pay, Receipt], token: Token) -> None:
                self.tokens.append(token)
                await self.provider.void(undo.request.order_id)

        if probe:

            @operation.probe
            async def find(self, request: Pay, token: Token) -> Receipt | None:
                found = await self.provider.find(request.order_id)
                return None if found is None else _receipt(found)

    return operation, ThisBank(provider)


def _receipt(given: Any) -> Receipt:
    return Receipt(charge=given) if isinstance(given, str) else given


# --- the ledger that fails ----------------------------------------------------------------------------------------


class FlakyLedger:
    """A ledger that fails on command: around the next commands of a type, before or after they are applied."""

    def __init__(self, ledger: Ledger) -> None:
        self.inner = ledger
        self.tripwire = Tripwire(None, Crash())
        self.before: dict[type[Command], deque[BaseException | None]] = {}
        self.after: dict[type[Command], deque[BaseException]] = {}

    def fail(
        self, command: type[Command], error: BaseException | None = None, *, times: int = 1, passing: int = 0
    ) -> None:
        """Fail ``times`` commands of this type without applying them, after the next ``passing``."""
        error = error or LedgerUnavailable("the disk is gone")
        self.before.setdefault(command, deque()).extend([None] * passing + [error] * times)

    def lose_reply(self, command: type[Command], error: BaseException | None = None) -> None:
        """Apply the next command of this type, and fail all the same."""
        self.after.setdefault(command, deque()).append(error or LedgerUnavailable("the reply was lost"))

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See `Ledger`."""
        self.tripwire.touch(ledger=True)
        if (failures := self.before.get(type(command))) and (error := failures.popleft()) is not None:
            raise error
        verdict = await self.inner.apply(command, expected=expected)
        if lost := self.after.get(type(command)):
            raise lost.popleft()
        self.tripwire.touch(ledger=True)
        return verdict

    async def get(self, key: str) -> Entry | None:
        """See `Ledger`."""
        return await self.inner.get(key)

    async def of_saga(self, saga: str) -> list[Entry]:
        """See `Ledger`."""
        return await self.inner.of_saga(saga)

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """See `kit.ledger.Ledger`."""
        return await self.inner.page(prefix, after=after, limit=limit)

    async def purge(self, now: datetime) -> int:
        """See `Ledger`."""
        return await self.inner.purge(now)

    async def open(self) -> None:
        """See `Ledger`."""
        await self.inner.open()

    async def close(self) -> None:
        """See `Ledger`."""
        await self.inner.close()

    async def __aenter__(self) -> FlakyLedger:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


# --- all of it together -------------------------------------------------------------------------------------------


@dataclass
class World:
    """One provider, its connector, a ledger and the guard between them."""

    strategy: Strategy = KEY_PROBE
    effect: Effect = Effect.COMPENSATABLE
    dependency: Dependency = field(default_factory=dependency)
    memory: Ledger = field(default_factory=MemoryLedger)
    persistent: bool = False

    def __post_init__(self) -> None:
        self.provider = Provider(remembers=self.strategy.remembers)
        read = self.effect is Effect.READ
        self.operation, self.connector = bank(
            self.provider,
            once=None if read else self.strategy.once,
            effect=self.effect,
            probe=self.strategy.probe and not read,
            dependency=self.dependency,
        )
        self.ledger = FlakyLedger(self.memory)
        self.guard = Guard(self.ledger, clock=clock)
        self.numbers: Counter[tuple[str, str]] = Counter()
        self.counts: dict[tuple[str, str], dict[str, int]] = {}

    def fault(self, call: str, *faults: Fault) -> World:
        """Let the next calls go wrong."""
        self.provider.faults[call].extend(faults)
        return self

    def token(self, order: str = "o-1", *, saga: str = "saga-1") -> Token:
        """The token of one order's payment."""
        return Token(key=f"pay:{order}", correlation_id="corr-1", workflow_id=saga, step=1, persistent=self.persistent)

    def attempt(self, order: str, role: str, *, timeout: timedelta = TIMEOUT) -> Attempt:
        """The next attempt, as the server would start it now."""
        place = (order, role)
        self.numbers[place] += 1
        return Attempt(
            number=self.numbers[place],
            started_at=now(),
            timeout=timeout,
            counts=dict(self.counts.get(place, {})),
            remember=lambda counts: self.counts.__setitem__(place, dict(counts)),
            clock=clock,
        )

    def delayed(self) -> Attempt:
        """The first attempt of the action, which reached its worker 30 s after the server had started it.

        Its lease has long been over by then: all others see its row as abandoned.
        """
        self.numbers["o-1", "action"] = 1
        return Attempt(number=1, started_at=now() - timedelta(seconds=30), timeout=TIMEOUT, clock=clock)

    async def act(
        self, order: str = "o-1", *, amount: int = 100, saga: str = "saga-1", attempt: Attempt | None = None
    ) -> Any:
        """Make an attempt of the action."""
        attempt = attempt or self.attempt(order, "action")
        request = Pay(order_id=order, amount=amount)
        return await self.guard.act(self.connector, self.operation, request, self.token(order, saga=saga), attempt)

    async def undo(
        self,
        order: str = "o-1",
        *,
        amount: int = 100,
        result: Receipt | None = None,
        outcome: Outcome | None = None,
        attempt: Attempt | None = None,
    ) -> bool:
        """Make an attempt of the undo; with a ``result`` the workflow knows that it was done."""
        outcome = outcome or (Outcome.UNKNOWN if result is None else Outcome.DONE)
        undo = UndoRequest[Pay, Receipt](request=Pay(order_id=order, amount=amount), result=result, outcome=outcome)
        attempt = attempt or self.attempt(order, "undo")
        return await self.guard.undo(self.connector, self.operation, undo, self.token(order), attempt)

    async def fails(self, attempt: Any) -> Failure:
        """How an attempt failed."""
        try:
            got = await attempt
        except ApplicationError as error:
            return Failure.of(error)
        raise AssertionError(f"the attempt succeeded with {got!r}")

    def trip(self, tripwire: Tripwire) -> None:
        """Let something go wrong at one touch of the outside."""
        self.provider.tripwire = self.ledger.tripwire = tripwire

    async def drive(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Make attempts as Temporal would, until one succeeds or the guard says never: then the `Failure`."""
        for _ in range(40):
            began = clock()
            try:
                return await attempt()
            except Crash:
                await asyncio.sleep(began + TIMEOUT.total_seconds() - clock())
            except ApplicationError as error:
                failure = Failure.of(error)
                if failure.permanent:
                    return failure
                await asyncio.sleep(failure.delay.total_seconds())
        raise AssertionError("40 attempts did not end it")

    async def row(self, order: str = "o-1") -> Entry:
        """The ledger's row."""
        row = await self.memory.get(f"pay:{order}")
        assert row is not None
        return row

    async def state(self, order: str = "o-1") -> str | None:
        """The state of the ledger's row."""
        row = await self.memory.get(f"pay:{order}")
        return None if row is None else row.state.value


@dataclass(frozen=True)
class Failure:
    """What Temporal sees of a failed attempt."""

    kind: FailureKind
    outcome: Outcome
    reason: str
    needs_person: bool
    permanent: bool
    delay: timedelta
    type: str
    error: ApplicationError

    @classmethod
    def of(cls, error: ApplicationError) -> Failure:
        """Read an application error as the saga reads it."""
        details = FailureDetails.model_validate(error.details[0])
        return cls(
            details.kind,
            details.outcome,
            details.reason,
            details.needs_person,
            error.non_retryable,
            error.next_retry_delay or timedelta(0),
            error.type or "",
            error,
        )


async def lease_over() -> None:
    """Let the lease of an attempt that has just started pass."""
    await asyncio.sleep(LEASE.total_seconds() + 0.001)


async def settled() -> None:
    """Let the dependency's settle time pass too."""
    await asyncio.sleep((LEASE + SETTLE).total_seconds() + 0.002)
