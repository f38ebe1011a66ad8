"""What a child saga knows of its parent, and what it gives back to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import workflow

from kit.workflow.steps import Envelope, Step

ResultT = TypeVar("ResultT")

PARENT_MEMO: Final = "kit.parent"
"""Memo of a child saga: its `Parent`."""


class Parent(BaseModel):
    """What a child saga knows of its parent."""

    model_config = ConfigDict(extra="forbid")

    saga: str
    deadline: datetime | None
    """When the parent's budget is used up; ``None`` once the parent only goes forward."""


class HeldBack(BaseModel):
    """An operation that a child leaves to its parent's commit."""

    model_config = ConfigDict(extra="forbid")

    operation: str
    request: Any
    key: str
    summary: str
    task_queue: str | None


class ChildEnded(Envelope, Generic[ResultT]):
    """What a saga returns that was started by another one."""

    result: ResultT
    held_back: list[HeldBack]
    waited: timedelta
    """How long the child waited for people."""


def parent() -> Parent | None:
    """The parent saga of this run, if it is a child."""
    found: Parent | None = workflow.memo_value(PARENT_MEMO, None, type_hint=Parent)
    return found


def hand_up(result: Any, held_back: Iterable[Step], *, waited: timedelta) -> ChildEnded[Any]:
    """What a child gives to its parent: its result, and what it leaves to the parent's commit."""
    left = [
        HeldBack(
            operation=step.operation,
            request=step.request,
            key=step.key,
            summary=step.summary,
            task_queue=step.task_queue,
        )
        for step in held_back
    ]
    return ChildEnded[Any](result=result, held_back=left, waited=waited)
