"""Whether a connector keeps the promises its operation makes, judged by what the provider itself recorded.

::

    report = await check_connector(
        StripePayments(http), authorize, AuthorizePayment(order_id="ORDER-1", ...),
        oracle=how_many_payments_hold_money,
        faults=[Fault(lose_next_reply, AuthorizePayment(order_id="ORDER-2", ...), FailureKind.UNAVAILABLE, UNKNOWN)],
    )

Every call goes to the real provider, or to one that fails on command; nothing is waited for: time is what the check
tells the guard.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from kit.contract import Effect, FailureDetails, OnceStrategy, Operation, Role, Token, Undo, UndoRequest
from kit.errors import DefinitionError, FailureKind, OperationFailure, Outcome, OutcomeUnknown
from kit.ledger import MemoryLedger
from kit.testing.promises import ConformanceError, ConformanceReport, Fault, Oracle, Promise
from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.guard import Guard
from kit.worker.work import UNDO_KEY_SUFFIX


async def check_connector(
    connector: Connector,
    operation: Operation[Any, Any],
    request: BaseModel,
    *,
    oracle: Oracle,
    faults: Iterable[Fault] = (),
    workflow_id: str = "conformance-check",
) -> ConformanceReport:
    """Check one operation of a connector against its provider.

    Where the operation can be undone, nothing is left behind by a check that passes, except by faults that do not
    recover.

    Args:
        connector: Open, and connected to a provider that can be used up.
        operation: What is checked.
        request: What is asked; the provider has not seen its key yet.
        oracle: Counts the operation's live effects at the provider.
        faults: How the provider may fail.
        workflow_id: For the token, and for keys that name it.

    Returns:
        What was checked.

    Raises:
        ConformanceError: A promise is broken; it says which, and what was found.
        DefinitionError: The connector does not serve the operation, or has no database for it.
    """
    _check_served(connector, operation)
    check = _Check(connector, operation, oracle, workflow_id)
    if operation.effect is Effect.READ:
        await check.reads_only(request)
    else:
        await check.life(request)
    number = 0
    for fault in faults:
        await check.fault(fault)
        number += 1
    return ConformanceReport(operation.name, tuple(dict.fromkeys(check.kept)), number)


def _check_served(connector: Connector, operation: Operation[Any, Any]) -> None:
    subject = f"connector {type(connector).__name__!r}"
    if operation.name not in connector.handlers:
        served = ", ".join(sorted(connector.handlers)) or "nothing"
        raise DefinitionError(
            subject, rule=f"it does not serve {operation.name!r}", fix=f"check what it serves: {served}"
        )
    by_transaction = operation.once is not None and operation.once.strategy is OnceStrategy.BY_TRANSACTION
    if by_transaction and connector.database is None:
        raise DefinitionError(
            subject,
            rule=f"it has no database, and {operation.name!r} is BY_TRANSACTION",
            fix="set its attribute 'database' to a kit.ledger.TransactionalLedger",
        )


@dataclass(slots=True)
class _Check:
    connector: Connector
    operation: Operation[Any, Any]
    oracle: Oracle
    workflow_id: str
    kept: list[Promise] = field(default_factory=list)
    _now: datetime = field(default_factory=lambda: datetime.now(UTC))

    # -- the life of one effect ------------------------------------------------------------------------------------

    async def reads_only(self, request: BaseModel) -> None:
        before = await self.oracle()
        with self._promise(Promise.READS_ONLY):
            await self._act(self._guard(), request)
            self._expect(Promise.READS_ONLY, await self.oracle(), before)

    async def life(self, request: BaseModel) -> None:
        before = await self.oracle()
        await self._nothing_yet(request, before)
        guard = self._guard()
        result = await self._happens_once(guard, request, before)
        await self._is_known(guard, request, result, before)
        if self.operation.effect.undoable:
            await self._is_undone(guard, request, result, before)

    async def _nothing_yet(self, request: BaseModel, before: int) -> None:
        if self._has(Role.PROBE):
            with self._promise(Promise.PROBE_BEFORE):
                self._expect(Promise.PROBE_BEFORE, await self._direct(Role.PROBE, request, self._token(request)), None)
        with self._promise(Promise.UNDO_BEFORE):
            # Under another key: an action that comes after its undo is refused.
            token = self._token(request, suffix=":undone-before")
            undo = UndoRequest[Any, Any](request=request, outcome=Outcome.UNKNOWN)
            happened = await self._guard().undo(self.connector, self.operation, undo, token, self._attempt())
            self._expect(Promise.UNDO_BEFORE, happened, False)
            self._expect(Promise.UNDO_BEFORE, await self.oracle(), before)

    async def _happens_once(self, guard: Guard, request: BaseModel, before: int) -> Any:
        if self._strategy is OnceStrategy.BY_TRANSACTION:
            await self._rolls_back(request, before)
            with self._promise(Promise.ONE_EFFECT):
                result = await self._act(guard, request)
                self._expect(Promise.ONE_EFFECT, await self.oracle(), before + 1)
            return result
        lost = _LosesReplies(self.connector)
        with self._promise(Promise.ONE_EFFECT):
            error = await self._failure(guard, request, lost)
            if lost.result is _NOTHING:
                raise ConformanceError(self.operation.name, Promise.ONE_EFFECT, f"the action failed: {error}")
            self._expect(Promise.ONE_EFFECT, await self.oracle(), before + 1)
        return lost.result

    async def _rolls_back(self, request: BaseModel, before: int) -> None:
        with self._promise(Promise.TRANSACTION):
            try:
                async with self._transaction() as extra:
                    await self._direct(Role.ACTION, request, self._token(request), *extra)
                    raise _RolledBackError
            except _RolledBackError:
                self._expect(Promise.TRANSACTION, await self.oracle(), before)

    async def _is_known(self, guard: Guard, request: BaseModel, result: Any, before: int) -> None:
        if self._has(Role.PROBE):
            with self._promise(Promise.PROBE_AFTER):
                found = await self._direct(Role.PROBE, request, self._token(request))
                self._expect(Promise.PROBE_AFTER, found, result)
        if self._strategy is OnceStrategy.NEVER_TWICE:
            with self._promise(Promise.ASKS_PERSON):
                failure = await self._failure(guard, request)
                self._expect(Promise.ASKS_PERSON, failure is not None and _details(failure).needs_person, True)
                self._expect(Promise.ASKS_PERSON, await self.oracle(), before + 1)
            return
        again = [Promise.RESOLVED, Promise.RECORDED]
        if self._strategy is OnceStrategy.BY_TRANSACTION:
            again.remove(Promise.RESOLVED)  # there is no instant between effect and record
        for promise in again:
            with self._promise(promise):
                self._expect(promise, await self._act(guard, request), result)
                self._expect(promise, await self.oracle(), before + 1)
        if self._strategy in (OnceStrategy.BY_KEY, OnceStrategy.BY_STATE):
            with self._promise(Promise.KEY_HONOURED):
                self._expect(Promise.KEY_HONOURED, await self._act(self._guard(), request), result)
                self._expect(Promise.KEY_HONOURED, await self.oracle(), before + 1)

    async def _is_undone(self, guard: Guard, request: BaseModel, result: Any, before: int) -> None:
        token = self._token(request)
        with self._promise(Promise.UNDO_AFTER):
            undo = UndoRequest[Any, Any](request=request, result=result, outcome=Outcome.DONE)
            happened = await guard.undo(self.connector, self.operation, undo, token, self._attempt())
            self._expect(Promise.UNDO_AFTER, happened, True)
            self._expect(Promise.UNDO_AFTER, await self.oracle(), before)
        if self._has(Role.PROBE):
            with self._promise(Promise.PROBE_UNDONE):
                self._expect(Promise.PROBE_UNDONE, await self._direct(Role.PROBE, request, token), None)
        for promise, suffix in (
            (Promise.UNDO_TWICE, UNDO_KEY_SUFFIX),
            (Promise.UNDO_FORGOTTEN, f"{UNDO_KEY_SUFFIX}:forgotten"),
        ):
            with self._promise(promise):
                async with self._transaction() as extra:
                    undone = Undo(request, result)
                    await self._direct(Role.COMPENSATION, undone, self._token(request, suffix=suffix), *extra)
                self._expect(promise, await self.oracle(), before)

    # -- failures --------------------------------------------------------------------------------------------------

    async def fault(self, fault: Fault) -> None:
        before = await self.oracle()
        guard = self._guard()
        await fault.inject()
        with self._promise(Promise.CLASSIFIED):
            error = await self._failure(guard, fault.request)
            found = None if error is None else _details(error)
            shown = "no failure" if found is None else f"{found.kind.value}, {found.outcome.value}: {error}"
            if found is None or (found.kind, found.outcome) != (fault.kind, fault.outcome):
                wanted = f"{fault.kind.value}, {fault.outcome.value}"
                raise ConformanceError(self.operation.name, Promise.CLASSIFIED, f"expected {wanted}; found {shown}")
        if fault.outcome in (Outcome.REFUSED, Outcome.NOT_STARTED):
            with self._promise(Promise.CLEAN):
                self._expect(Promise.CLEAN, await self.oracle(), before)
        elif fault.recovers and self._strategy not in (None, OnceStrategy.NEVER_TWICE):
            with self._promise(Promise.RESOLVED):
                result = await self._act(guard, fault.request)
                self._expect(Promise.RESOLVED, await self.oracle(), before + 1)
            if self.operation.effect.undoable:
                await self._is_undone(guard, fault.request, result, before)

    # -- tools -----------------------------------------------------------------------------------------------------

    @property
    def _strategy(self) -> OnceStrategy | None:
        return self.operation.once.strategy if self.operation.once else None

    def _has(self, role: Role) -> bool:
        return self.connector.method(self.operation, role) is not None

    def _guard(self) -> Guard:
        """A guard with an empty ledger: as after the loss of every record."""
        return Guard(MemoryLedger())

    def _attempt(self) -> Attempt:
        """The next attempt: late enough that what may still happen has happened, and every lease is over."""
        self._now += self.operation.dependency.settle + self.operation.timeout + timedelta(seconds=1)
        return Attempt.direct(timeout=self.operation.timeout, started_at=self._now)

    def _token(self, request: BaseModel, *, suffix: str = "") -> Token:
        key = self.operation.key_for(request, workflow_id=self.workflow_id)
        return Token(key=key + suffix, correlation_id=self.workflow_id, workflow_id=self.workflow_id, step=1)

    async def _act(self, guard: Guard, request: BaseModel, connector: Connector | None = None) -> Any:
        return await guard.act(
            connector or self.connector, self.operation, request, self._token(request), self._attempt()
        )

    async def _failure(
        self, guard: Guard, request: BaseModel, connector: Connector | None = None
    ) -> ApplicationError | None:
        try:
            await self._act(guard, request, connector)
        except ApplicationError as error:
            return error
        return None

    async def _direct(self, role: Role, *args: Any) -> Any:
        method: Any = self.connector.method(self.operation, role)
        return await method(*args)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[tuple[Any, ...]]:
        """The third argument of a ``BY_TRANSACTION`` method; nothing for every other."""
        if self._strategy is not OnceStrategy.BY_TRANSACTION:
            yield ()
            return
        database: Any = self.connector.database
        async with database.begin() as tx:
            yield (tx,)

    @contextmanager
    def _promise(self, promise: Promise) -> Iterator[None]:
        """Whatever is raised in the block breaks the promise."""
        try:
            yield
        except ConformanceError:
            raise
        except Exception as error:  # a connector may raise anything
            raise ConformanceError(self.operation.name, promise, f"it raised {error!r}") from error
        self.kept.append(promise)

    def _expect(self, promise: Promise, found: object, wanted: object) -> None:
        if found != wanted:
            raise ConformanceError(self.operation.name, promise, f"expected {wanted!r}, found {found!r}")


class _RolledBackError(Exception):
    """Ends a transaction without committing it."""


_NOTHING: Final = object()


class _LosesReplies(Connector):
    """The connector under check, whose action's reply never arrives. Seen by the guard only."""

    def __init__(self, inner: Connector) -> None:
        self.inner = inner
        self.database = inner.database
        self.result: Any = _NOTHING

    def classify(self, error: Exception) -> OperationFailure | None:
        """As the connector does."""
        return self.inner.classify(error)

    def method(self, operation: Operation[Any, Any], role: Role) -> Callable[..., Awaitable[Any]] | None:
        """The connector's own, but for the action."""
        inner: Any = self.inner.method(operation, role)

        async def act(*args: Any) -> Any:
            self.result = await inner(*args)
            raise OutcomeUnknown(FailureKind.TIMEOUT, "the check lost the reply", reason="lost_reply")

        return act if role is Role.ACTION else inner


def _details(error: ApplicationError) -> FailureDetails:
    return FailureDetails.model_validate(error.details[0])
