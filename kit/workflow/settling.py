"""Waiting that no cancellation cuts short.

Three things cancel a task of a workflow: the run was asked to end, somebody stopped this one task (a sibling failed, a
timeout in the workflow's own code), or the SDK evicts the run from its cache. Nobody here asks which: work is always
waited for until it is over. An eviction ends it at once, for the SDK cancels every task of the run and refuses every
command with an exception that nobody catches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from temporalio import workflow

T = TypeVar("T")

_TICKS: Final = 8
"""How many turns of the event loop a result that arrives together with a cancellation is given to come through. It
takes three; a result that is not there after them is not there."""


async def settled(handle: asyncio.Task[Any]) -> bool:
    """Wait until an activity is over, whatever is asked meanwhile.

    A cancellation is passed on once: an activity that waits for its next attempt ends at once, one that is at work
    finishes, and its outcome is known. A result that arrives in the same workflow task as the cancellation is let
    through first (sdk-python#352): cancelling then would throw it away.

    Returns:
        Whether it was asked to stop.
    """
    asked = passed_on = False
    while not handle.done():
        try:
            if passed_on or not asked:
                await asyncio.wait([handle])
                continue
            for _ in range(_TICKS):
                await asyncio.sleep(0)
            passed_on = True
            if not handle.done():
                handle.cancel()
        except asyncio.CancelledError:
            asked = True
    return asked


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end, however often a cancellation is asked for."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    return task.result()


async def freeze(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Stop what waits, let what is at work finish, and wait for all of it."""
    for task in tasks:
        if not task.done():
            task.cancel()
    while not all(task.done() for task in tasks):
        try:
            await workflow.wait(tasks)
        except asyncio.CancelledError:
            continue
    for task in tasks:
        # Looked at, so that asyncio does not complain of an exception that nobody fetched.
        _ = task.cancelled() or task.exception()
