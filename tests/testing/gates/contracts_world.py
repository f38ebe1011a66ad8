"""A service of one operation and one saga, built from a description, and everything that can be changed in it."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, create_model
from temporalio import workflow

from kit import SagaWorkflow
from kit.contract import (
    Dependency,
    Effect,
    FailureKind,
    FailureMap,
    Model,
    Once,
    OnceStrategy,
    Operation,
    Retry,
    not_started,
    refused,
    unknown,
)
from kit.testing.gates.contracts import Change, Service
from kit.worker import Connector


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Sizes(StrEnum):
    """One size more."""

    SMALL = "small"
    LARGE = "large"
    HUGE = "huge"


class Line(Model):
    sku: str
    pieces: int = 1


KINDS: Final[dict[str, Any]] = {
    "id": Annotated[str, Field(min_length=1, max_length=40)],
    "code": Annotated[str, Field(pattern=r"^[a-z]{3}$")],
    "text": str,
    "maybe": str | None,
    "count": Annotated[int, Field(gt=0)],
    "few": Annotated[int, Field(gt=0, le=10)],
    "money": Decimal,
    "rate": float,
    "yes": bool,
    "when": datetime,
    "uuid": UUID,
    "size": Size,
    "sizes": Sizes,
    "lines": list[Line],
    "by_sku": dict[str, int],
    "one_or_other": Line | int,
}
"""The kinds of fields."""

REQUIRED: Final = ...

FAILURES: Final = FailureMap(
    classes={"builtins.OSError": unknown(FailureKind.UNAVAILABLE), "kit.errors.Refused": refused(FailureKind.INVALID)},
    statuses={409: refused(FailureKind.CONFLICT)},
    ranges={5: unknown(FailureKind.UNAVAILABLE)},
)


@dataclass(frozen=True)
class Spec:
    """What a service is."""

    name: str = "shop.sell"
    fields: tuple[tuple[str, str, Any], ...] = (("order_id", "id", REQUIRED), ("pieces", "count", 1))
    result: tuple[tuple[str, str, Any], ...] = (("receipt", "id", REQUIRED),)
    argument: tuple[tuple[str, str, Any], ...] = (("order_id", "id", REQUIRED), ("note", "text", "none"))
    effect: Effect = Effect.COMPENSATABLE
    once: OnceStrategy = OnceStrategy.BY_KEY
    ttl: timedelta = timedelta(hours=24)
    key: str = "sell:{order_id}"
    version: int = 1
    timeout: timedelta = timedelta(seconds=10)
    local: bool = False
    served: bool = True
    probe: bool = True
    dependency: str = "shop"
    settle: timedelta = timedelta(seconds=5)
    failures: FailureMap = FAILURES
    attempts: int | None = 4
    cap: timedelta = timedelta(seconds=60)
    saga: str = "Selling"
    deadline: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=12)
    others: tuple[str, ...] = ()
    more_arguments: int = 0

    def service(self) -> Service:
        """The service, with classes of its own."""
        operations = [self._operation(self.name, self.key)]
        operations += [self._operation(name, f"{name}:{{order_id}}") for name in self.others]
        saga = self._saga(tuple(operations))
        return Service(
            workflows=[saga], connectors=[_connector(operation, self) for operation in operations if self.served]
        )

    def with_field(self, name: str, kind: str, default: Any = REQUIRED) -> Spec:
        """The same with one more field in the request."""
        return replace(self, fields=(*self.fields, (name, kind, default)))

    def _operation(self, name: str, key: str) -> Operation[Any, Any]:
        reads = self.effect is Effect.READ
        ttl = self.ttl if self.once is OnceStrategy.BY_KEY else None
        return Operation(
            name,
            model("Request", self.fields),
            model("Result", self.result),
            dependency=Dependency(
                name=self.dependency,
                owner="shop-team",
                settle=self.settle,
                failures=self.failures,
                retry={FailureKind.UNAVAILABLE: Retry(attempts=self.attempts, cap=self.cap)},
            ),
            effect=self.effect,
            once=None if reads else Once(self.once, ttl),
            key=None if reads else key,
            version=self.version,
            timeout=self.timeout,
            local=self.local,
        )

    def _saga(self, uses: tuple[Operation[Any, Any], ...]) -> type:
        hints: dict[str, Any] = {"request": model("Argument", self.argument), "return": model("Result", self.result)}
        if self.more_arguments:

            async def run(self: Any, request: Any, more: Any) -> Any: ...

            hints["more"] = str
        else:

            async def run(self: Any, request: Any) -> Any: ...  # type: ignore[misc] # one of the two

        run.__annotations__ = hints
        run.__qualname__ = f"{self.saga}.run"
        told = {"owner": "shop-team", "deadline": self.deadline, "replay_window": self.window, "uses": uses}
        cls = types.new_class(
            self.saga, (SagaWorkflow,), told, lambda body: body.update(run=workflow.run(run), __module__=__name__)
        )
        return workflow.defn(name=self.saga)(cls)


def model(name: str, fields: tuple[tuple[str, str, Any], ...]) -> type[Model]:
    """A model of these fields."""
    made: dict[str, Any] = {key: (KINDS[kind], default) for key, kind, default in fields}
    return create_model(name, __base__=Model, **made)


def _connector(operation: Operation[Any, Any], spec: Spec) -> type[Connector]:
    async def act(self: Any, request: Any, token: Any) -> Any: ...
    async def undo(self: Any, undone: Any, token: Any) -> None: ...
    async def find(self: Any, request: Any, token: Any) -> Any: ...

    methods: dict[str, Any] = {"act": operation.action(act)}
    if spec.effect.undoable:
        methods["undo"] = operation.compensation(undo)
    if spec.probe and spec.effect is not Effect.READ:
        methods["find"] = operation.probe(find)
    return types.new_class("Shop", (Connector,), {}, lambda body: body.update(methods))


Mutation = Callable[[Spec], Spec]


BEFORE_AND_AFTER: Final[dict[str, tuple[Mutation, Mutation, set[Change]]]] = {
    # name: (what it was, what it became, all that must be found)
    "an operation is renamed": (
        lambda s: s,
        lambda s: replace(s, name="shop.sell_again"),
        {Change.OPERATION_REMOVED, Change.OPERATION_ADDED},
    ),
    "an operation is removed": (
        lambda s: replace(s, others=("shop.wrap",)),
        lambda s: s,
        {Change.OPERATION_REMOVED},
    ),
    "an operation is added": (
        lambda s: s,
        lambda s: replace(s, others=("shop.wrap",)),
        {Change.OPERATION_ADDED},
    ),
    "the version is raised": (lambda s: s, lambda s: replace(s, version=2), {Change.VERSION_CHANGED}),
    "the key's verb is improved": (
        lambda s: s,
        lambda s: replace(s, key="shop-sell:{order_id}"),
        {Change.KEY_CHANGED},
    ),
    "the key has one part more": (
        lambda s: s,
        lambda s: replace(s, key=s.key + ":{workflow_id}"),
        {Change.KEY_CHANGED},
    ),
    "an amount is written in another way": (
        lambda s: s.with_field("amount", "money"),
        lambda s: s.with_field("amount", "rate"),
        {Change.FINGERPRINT_CHANGED, Change.TYPE_CHANGED},
    ),
    "the once-strategy changes": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        lambda s: replace(s, once=OnceStrategy.BY_PROBE),
        {Change.ONCE_CHANGED},
    ),
    "keys live shorter than runs in flight": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        lambda s: replace(
            s, once=OnceStrategy.BY_KEY, ttl=timedelta(hours=2), window=timedelta(hours=1), deadline=timedelta(hours=1)
        ),
        {Change.TTL_TOO_SHORT, Change.REPLAY_WINDOW_CHANGED},
    ),
    "keys live shorter": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        lambda s: replace(s, once=OnceStrategy.BY_KEY, ttl=timedelta(hours=20)),
        {Change.TTL_SHORTENED},
    ),
    "keys live longer": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        lambda s: replace(s, once=OnceStrategy.BY_KEY, ttl=timedelta(hours=48)),
        {Change.TTL_LENGTHENED},
    ),
    "a compensation is deleted as unused": (
        lambda s: replace(s, effect=Effect.COMPENSATABLE, probe=True),
        lambda s: replace(s, effect=Effect.RECONCILABLE, probe=True),
        {Change.EFFECT_WEAKENED},
    ),
    "an effect is declared a read": (
        lambda s: replace(s, effect=Effect.REVERSIBLE),
        lambda s: replace(s, effect=Effect.READ),
        {Change.EFFECT_WEAKENED},
    ),
    "a read has an effect now": (
        lambda s: replace(s, effect=Effect.READ, probe=False),
        lambda s: replace(s, effect=Effect.REVERSIBLE, probe=False, once=OnceStrategy.BY_STATE),
        {Change.EFFECT_ADDED},
    ),
    "an effect can be undone now": (
        lambda s: replace(s, effect=Effect.IRREVERSIBLE),
        lambda s: replace(s, effect=Effect.COMPENSATABLE),
        {Change.EFFECT_STRENGTHENED},
    ),
    "the word for the effect changes": (
        lambda s: replace(s, effect=Effect.REVERSIBLE),
        lambda s: replace(s, effect=Effect.COMPENSATABLE),
        {Change.EFFECT_RENAMED},
    ),
    "nobody serves the compensation any more": (
        lambda s: replace(s, effect=Effect.COMPENSATABLE, once=OnceStrategy.BY_STATE, probe=False),
        lambda s: replace(s, effect=Effect.COMPENSATABLE, once=OnceStrategy.BY_STATE, probe=False, served=False),
        {Change.COMPENSATION_DROPPED},
    ),
    "somebody serves the compensation now": (
        lambda s: replace(s, effect=Effect.COMPENSATABLE, once=OnceStrategy.BY_STATE, probe=False, served=False),
        lambda s: replace(s, effect=Effect.COMPENSATABLE, once=OnceStrategy.BY_STATE, probe=False),
        {Change.COMPENSATION_ADDED},
    ),
    "a probe is deleted": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        lambda s: replace(s, once=OnceStrategy.BY_KEY, probe=False),
        {Change.PROBE_DROPPED},
    ),
    "a probe is added": (
        lambda s: replace(s, once=OnceStrategy.BY_KEY, probe=False),
        lambda s: replace(s, once=OnceStrategy.BY_KEY),
        {Change.PROBE_ADDED},
    ),
    "attempts are cut off sooner": (
        lambda s: s,
        lambda s: replace(s, timeout=s.timeout / 2),
        {Change.TIMEOUT_SHORTENED},
    ),
    "attempts may take longer": (lambda s: s, lambda s: replace(s, timeout=s.timeout * 2), {Change.TIMEOUT_LENGTHENED}),
    "it becomes a local activity": (lambda s: s, lambda s: replace(s, local=True), {Change.LOCAL_CHANGED}),
    "its system is named otherwise": (
        lambda s: s,
        lambda s: replace(s, dependency="store"),
        {Change.DEPENDENCY_CHANGED},
    ),
    "a request has a new required field": (
        lambda s: s,
        lambda s: s.with_field("extra", "text"),
        {Change.TYPE_NARROWED},
    ),
    "a request's field is removed": (
        lambda s: s.with_field("extra", "text"),
        lambda s: s,
        {Change.TYPE_NARROWED},
    ),
    "a request's field with a default is removed": (
        lambda s: s.with_field("extra", "text", "none"),
        lambda s: s,
        {Change.TYPE_NARROWED},
    ),
    "a request's field is renamed": (
        lambda s: s.with_field("extra", "text", "none"),
        lambda s: s.with_field("further", "text", "none"),
        {Change.TYPE_NARROWED},
    ),
    "a request's field is bounded": (
        lambda s: s.with_field("extra", "count"),
        lambda s: s.with_field("extra", "few"),
        {Change.TYPE_NARROWED},
    ),
    "a request's field has a pattern now": (
        lambda s: s.with_field("extra", "text"),
        lambda s: s.with_field("extra", "code"),
        {Change.TYPE_NARROWED},
    ),
    "a request's field may be absent no more": (
        lambda s: s.with_field("extra", "text", "none"),
        lambda s: s.with_field("extra", "text"),
        {Change.TYPE_NARROWED},
    ),
    "a request's field has one value less": (
        lambda s: s.with_field("extra", "sizes"),
        lambda s: s.with_field("extra", "size"),
        {Change.TYPE_NARROWED},
    ),
    "a request's flag becomes a number": (
        lambda s: s.with_field("extra", "yes"),
        lambda s: s.with_field("extra", "rate"),
        {Change.TYPE_MISREAD},
    ),
    "a request's default changes": (
        lambda s: s.with_field("extra", "text", "none"),
        lambda s: s.with_field("extra", "text", "some"),
        {Change.DEFAULT_CHANGED},
    ),
    "a request's field with a default is added": (
        lambda s: s,
        lambda s: s.with_field("extra", "text", "none"),
        {Change.TYPE_WIDENED},
    ),
    "a request's field has one value more": (
        lambda s: s.with_field("extra", "size"),
        lambda s: s.with_field("extra", "sizes"),
        {Change.TYPE_WIDENED},
    ),
    "a request's bound is lifted": (
        lambda s: s.with_field("extra", "few"),
        lambda s: s.with_field("extra", "count"),
        {Change.TYPE_WIDENED},
    ),
    "a request's field may be left out now": (
        lambda s: s.with_field("extra", "maybe"),
        lambda s: s.with_field("extra", "maybe", None),
        {Change.TYPE_CHANGED},
    ),
    "a result's field is renamed": (
        lambda s: replace(s, result=(("receipt", "id", REQUIRED),)),
        lambda s: replace(s, result=(("receipt_id", "id", REQUIRED),)),
        {Change.TYPE_NARROWED},
    ),
    "a result has one field more": (
        lambda s: replace(s, result=(("receipt", "id", REQUIRED),)),
        lambda s: replace(s, result=(("receipt", "id", REQUIRED), ("page", "count", 1))),
        {Change.TYPE_WIDENED},
    ),
    "a workflow's argument loses a field": (
        lambda s: s,
        lambda s: replace(s, argument=s.argument[:1]),
        {Change.TYPE_NARROWED},
    ),
    "a workflow's argument has another default": (
        lambda s: s,
        lambda s: replace(s, argument=(*s.argument[:1], ("note", "text", "something"))),
        {Change.DEFAULT_CHANGED},
    ),
    "a workflow takes one argument more": (
        lambda s: s,
        lambda s: replace(s, more_arguments=1),
        {Change.ARGUMENTS_CHANGED},
    ),
    "requests are believed lost sooner": (
        lambda s: s,
        lambda s: replace(s, settle=timedelta(seconds=1)),
        {Change.SETTLE_SHORTENED},
    ),
    "requests are believed lost later": (
        lambda s: s,
        lambda s: replace(s, settle=timedelta(hours=1)),
        {Change.SETTLE_LENGTHENED},
    ),
    "a broken connection is taken for a refusal": (
        lambda s: s,
        lambda s: replace(
            s, failures=FAILURES.extended(classes={"builtins.OSError": not_started(FailureKind.UNAVAILABLE)})
        ),
        {Change.FAILURE_TRUSTED},
    ),
    "a 502 is taken for a refusal": (
        lambda s: s,
        lambda s: replace(s, failures=FAILURES.extended(statuses={502: refused(FailureKind.INVALID)})),
        {Change.FAILURE_TRUSTED},
    ),
    "every 4xx is taken for a refusal": (
        lambda s: s,
        lambda s: replace(s, failures=FAILURES.extended(ranges={4: refused(FailureKind.INVALID)})),
        {Change.FAILURE_TRUSTED},
    ),
    "a conflict leaves doubt now": (
        lambda s: s,
        lambda s: replace(s, failures=FAILURES.extended(statuses={409: unknown(FailureKind.CONFLICT)})),
        {Change.FAILURE_DOUBTED},
    ),
    "nobody reads a conflict any more": (
        lambda s: s,
        lambda s: replace(s, failures=FailureMap(FAILURES.classes, {}, FAILURES.ranges)),
        {Change.FAILURE_DOUBTED},
    ),
    "a conflict is an invalid request now": (
        lambda s: s,
        lambda s: replace(s, failures=FAILURES.extended(statuses={409: refused(FailureKind.INVALID)})),
        {Change.FAILURE_REREAD},
    ),
    "an outage is retried without end": (lambda s: s, lambda s: replace(s, attempts=None), {Change.RETRY_ATTEMPTS}),
    "an outage is retried more slowly": (
        lambda s: s,
        lambda s: replace(s, cap=timedelta(seconds=90)),
        {Change.RETRY_PACE},
    ),
    "a workflow is renamed": (
        lambda s: s,
        lambda s: replace(s, saga="Sales"),
        {Change.WORKFLOW_REMOVED, Change.WORKFLOW_ADDED},
    ),
    "runs have less time": (
        lambda s: s,
        lambda s: replace(s, deadline=timedelta(minutes=1)),
        {Change.DEADLINE_CHANGED},
    ),
    "a start may come again for longer": (
        lambda s: s,
        lambda s: replace(s, window=timedelta(hours=20)),
        {Change.REPLAY_WINDOW_CHANGED},
    ),
}
"""Every kind of change, as somebody makes it."""
