"""An operation: one business action with a written contract. Pure data; workflows import it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast

from pydantic import BaseModel

from kit.contract.dependency import Dependency
from kit.contract.effect import Effect, HoldFails, Once, OnceStrategy
from kit.contract.keys import check_template, format_key, placeholders
from kit.contract.retry import TRANSIENT, UNLIMITED, Retry
from kit.contract.token import RequestT, ResultT, Token, Undo
from kit.errors import DefinitionError, FailureKind

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")

UNDO_SUFFIX: Final = ".undo"
"""Appended to an operation's name, it names the activity that undoes it."""

S = TypeVar("S")
M = TypeVar("M", bound=Callable[..., Any])
P = ParamSpec("P")


class Role(StrEnum):
    """What a connector's method does for an operation."""

    ACTION = "action"
    COMPENSATION = "compensation"
    PROBE = "probe"


ROLE_ATTRIBUTE: Final = "__kit_role__"
"""Where a decorated method remembers its role and operation."""


class ActionMethod(Generic[S, RequestT, ResultT, P]):
    """The type of a method marked as an action: a method, with the decorators its name may hide."""

    compensation: Callable[
        [Callable[Concatenate[Any, Undo[RequestT, ResultT], Token, ...], Awaitable[None]]],
        Callable[Concatenate[Any, Undo[RequestT, ResultT], Token, ...], Awaitable[None]],
    ]
    probe: Callable[
        [Callable[Concatenate[Any, RequestT, Token, ...], Awaitable[ResultT | None]]],
        Callable[Concatenate[Any, RequestT, Token, ...], Awaitable[ResultT | None]],
    ]

    def __get__(
        self, instance: S | None, owner: type[S] | None = None
    ) -> Callable[Concatenate[RequestT, Token, P], Awaitable[ResultT]]:
        """The bound method."""
        raise NotImplementedError


class Operation(Generic[RequestT, ResultT]):
    """One business action with a written contract.

    Args:
        name: ``"<system>.<verb>"``; the activity's name. A released name never changes.
        request: The request's type, a `kit.Model`.
        result: The result's type, a `kit.Model`, or ``None``.
        dependency: The external system it acts on.
        effect: What can be done about it after it happened.
        once: How it is kept to one effect. Required for everything but a ``READ``.
        key: Template of its idempotency key over the request's fields. Required for everything but a ``READ``.
        timeout: How long one attempt may take; also its lease. The connector is cut off a tenth earlier, so that
            the guard still hears of it and its request cannot leave after the lease.
        version: Of the contract, from 1.
        owner: Who is asked about it; the dependency's owner by default.
        summary: A sentence for the operator, over the request's fields: ``"Authorize {amount} for {order_id}"``.
        runbook: Where a person finds what to do; the dependency's by default.
        local: Run as a local activity: a third of the events; safe for effects only because of the ledger.
        editable: Fields of the request that a person may change when they have a failed step tried again. The edited
            request gets a key of its own, and the original is settled before: see `kit.workflow.editing`.
        due: How long a person has to answer a task about it before the run tells of it again; by default what the
            saga declares.
        hold_fails: Whether it goes on or waits while nobody can say whether a hold is on it; by default the
            effect's, `Effect.hold_fails`.

    Raises:
        DefinitionError: The contract cannot be kept; the message names the rule and the fix.
    """

    def __init__(
        self,
        name: str,
        request: type[RequestT],
        result: type[ResultT],
        *,
        dependency: Dependency,
        effect: Effect,
        timeout: timedelta,
        once: Once | None = None,
        key: str | None = None,
        version: int = 1,
        owner: str | None = None,
        summary: str | None = None,
        runbook: str | None = None,
        local: bool = False,
        editable: tuple[str, ...] = (),
        due: timedelta | None = None,
        hold_fails: HoldFails | None = None,
    ) -> None:
        self.name = name
        self.request = request
        self.result = result
        self.dependency = dependency
        self.effect = effect
        self.timeout = timeout
        self.once = once
        self.key = key
        self.version = version
        self.owner = owner or dependency.owner
        self.summary = summary or _sentence(name)
        self.runbook = runbook or dependency.runbook
        self.local = local
        self.editable = editable
        self.due = due
        self.hold_fails = hold_fails or effect.hold_fails
        self._check()

    def __repr__(self) -> str:
        """The name, as an error message shows it."""
        return f"Operation({self.name!r})"

    @property
    def undo_name(self) -> str:
        """The name of the activity that undoes it."""
        return self.name + UNDO_SUFFIX

    @property
    def has_undo(self) -> bool:
        """Whether something must happen when the saga turns round: everything but a ``READ``."""
        return self.effect is not Effect.READ

    def key_for(self, request: RequestT, *, workflow_id: str) -> str:
        """The idempotency key of one request; empty for a ``READ``.

        Raises:
            ValueError: A part of the key is empty, or the key is too long.
        """
        return "" if self.key is None else format_key(self.key, request, workflow_id=workflow_id)

    def summary_for(self, request: RequestT) -> str:
        """The sentence an operator reads."""
        return self.summary.format_map(_Fields(request))

    def retry_for(self, kind: FailureKind, *, persistent: bool) -> Retry:
        """The retry rule for one kind of failure.

        Args:
            kind: Why the attempt failed.
            persistent: The saga can neither turn round nor give up here, so what passes by itself is waited for.
        """
        rule = self.dependency.retry[kind]
        if persistent and kind in TRANSIENT:
            return Retry(attempts=UNLIMITED, base=rule.base, cap=rule.cap)
        return rule

    # -- decorators for the connector ------------------------------------------------------------------------------

    def action(
        self, method: Callable[Concatenate[S, RequestT, Token, P], Awaitable[ResultT]]
    ) -> ActionMethod[S, RequestT, ResultT, P]:
        """Mark the connector's method that carries the operation out.

        Inside the class body the method may bear the operation's name: what it hides there, it offers itself
        (``@authorize.compensation``, ``@authorize.probe``).
        """
        marked: Any = self._mark(method, Role.ACTION)
        marked.compensation, marked.probe = self.compensation, self.probe
        return cast("ActionMethod[S, RequestT, ResultT, P]", marked)

    def compensation(
        self, method: Callable[Concatenate[S, Undo[RequestT, ResultT], Token, P], Awaitable[None]]
    ) -> Callable[Concatenate[S, Undo[RequestT, ResultT], Token, P], Awaitable[None]]:
        """Mark the connector's method that undoes it. Must be safe twice."""
        return self._mark(method, Role.COMPENSATION)

    def probe(
        self, method: Callable[Concatenate[S, RequestT, Token, P], Awaitable[ResultT | None]]
    ) -> Callable[Concatenate[S, RequestT, Token, P], Awaitable[ResultT | None]]:
        """Mark the connector's truthful look-up: the result of a live effect under the token's key, or ``None``."""
        return self._mark(method, Role.PROBE)

    def _mark(self, method: M, role: Role) -> M:
        if getattr(method, ROLE_ATTRIBUTE, None) is not None:
            raise DefinitionError(
                f"operation {self.name!r}",
                rule=f"method {method.__name__!r} already has a role",
                fix="give each role a method of its own",
            )
        setattr(method, ROLE_ATTRIBUTE, (role, self))
        return method

    # -- rules -----------------------------------------------------------------------------------------------------

    def _refuse(self, rule: str, fix: str) -> DefinitionError:
        return DefinitionError(f"operation {self.name!r}", rule=rule, fix=fix)

    def _check(self) -> None:
        if not _NAME.match(self.name) or self.name.endswith(UNDO_SUFFIX):
            raise self._refuse(
                "its name must be lower-case words joined by dots and not end in '.undo'",
                "use '<system>.<verb>', e.g. 'payments.authorize'",
            )
        for what, model in (("request", self.request), ("result", self.result)):
            self._check_model(what, model)
        if self.timeout <= timedelta(0):
            raise self._refuse(f"timeout={self.timeout!r} must be positive", "give how long one attempt may take")
        if self.version < 1:
            raise self._refuse(f"version={self.version!r} must be at least 1", "count versions from 1")
        unknown = [n for n in placeholders(self.summary) if n.split(".")[0] not in self.request.model_fields]
        if unknown:
            raise self._refuse(
                f"summary {self.summary!r} uses {unknown[0]!r}, which {self.request.__name__} does not have",
                f"use its fields: {', '.join(sorted(self.request.model_fields)) or 'none'}",
            )
        if lacking := sorted(set(self.editable) - set(self.request.model_fields)):
            raise self._refuse(
                f"editable={self.editable!r} names {lacking[0]!r}, which {self.request.__name__} does not have",
                f"use its fields: {', '.join(sorted(self.request.model_fields)) or 'none'}",
            )
        if self.due is not None and self.due <= timedelta(0):
            raise self._refuse(f"due={self.due!r} must be positive", "give how long a person has for an answer")
        if self.effect is Effect.READ:
            if self.once is not None or self.key is not None:
                raise self._refuse("a READ has no effect to keep to one", "drop once= and key=")
            return
        if self.once is None:
            raise self._refuse(
                f"effect {self.effect.name} needs a once-strategy",
                "declare once=Once.by_key(ttl=...), by_probe(), by_state(), by_transaction() or never_twice()",
            )
        if self.key is None:
            raise self._refuse(
                f"effect {self.effect.name} needs a key",
                "declare key='<verb>:{<business id>}' over the request's fields",
            )
        if self.local and self.once.strategy is OnceStrategy.NEVER_TWICE:
            raise self._refuse(
                "a NEVER_TWICE operation cannot be local: a lost workflow task would make its outcome unknown",
                "drop local=True",
            )
        check_template(f"operation {self.name!r}", self.key, self.request)

    def _check_model(self, what: str, model: Any) -> None:
        if what == "result" and model in (None, type(None)):
            return
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise self._refuse(
                f"its {what} type {model!r} is not a pydantic model", "derive it from kit.Model (None for no result)"
            )
        if model.model_config.get("extra") != "forbid":
            raise self._refuse(
                f"its {what} type {model.__name__} drops unknown fields without a word (extra is not 'forbid')",
                "derive it from kit.Model",
            )


class _Fields(dict[str, Any]):
    """The request's fields, for `str.format_map`."""

    def __init__(self, request: BaseModel) -> None:
        super().__init__({name: getattr(request, name) for name in type(request).model_fields})


def _sentence(name: str) -> str:
    """``payments.authorize`` as ``Authorize payments``."""
    system, _, verb = name.rpartition(".")
    return f"{verb.replace('_', ' ').capitalize()} {system.replace('.', ' ').replace('_', ' ')}"
