"""``kit sweeper``: have runs that were cut off unwound, by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.discovery import operating
from kit.operate.sweeping import schedule_id, sweep_off, sweep_on, sweeping
from kit.workflow.sweeping import SweepRequest

sweeper = App(name="sweeper", help="Have runs that were terminated or timed out unwound.")


@sweeper.command
async def on(
    *,
    every: timedelta = timedelta(minutes=5),
    window: timedelta = timedelta(days=7),
    rest: timedelta = timedelta(minutes=10),
    query: str | None = None,
    now: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Switch the sweeper on, or change how it sweeps.

    It unwinds each run of the service that was terminated or timed out and has left effects: also one that was
    terminated after its pivot.

    Args:
        every: How often it sweeps, such as 5m.
        window: How far back it looks for runs that closed, such as 7d.
        rest: How long a run must have been closed, such as 10m: somebody may want to start it again.
        query: Which runs only, as a visibility query, such as "WorkflowType = 'Checkout'".
        now: Sweep at once, too.
    """
    async with operating() as service:
        handle = await sweep_on(service, SweepRequest(window=window, rest=rest, query=query), every=every)
        if now:
            await handle.trigger()
        print(f"the sweeper is on: schedule {schedule_id(service)}, every {every}")
    return 0


@sweeper.command
async def off() -> int:
    """Switch the sweeper off. Unwinds that are under way go on."""
    async with operating() as service:
        print("the sweeper is off" if await sweep_off(service) else "the sweeper was off already")
    return 0


@sweeper.command
async def status() -> int:
    """Say whether the sweeper is on. The exit code is 0 when it is, else 1."""
    async with operating() as service:
        found = await sweeping(service)
    if found is None:
        print("the sweeper is off")
        return 1
    last = f"last {found.last_at:%Y-%m-%d %H:%M:%S} ({found.last})" if found.last_at else "has not swept yet"
    upcoming = f", next {found.next_at:%Y-%m-%d %H:%M:%S}" if found.next_at else ""
    print(f"the sweeper is on: every {found.every}, {last}{upcoming}")
    return 0
