"""The command line: parses, delegates, and exits honestly."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from kit.cli.discovery import find_app, find_demo
from kit.cli.leave import leave
from kit.errors import KitError

app = App(
    name="kit",
    help="Workflow reliability kit: effects that happen once, sagas that undo by outcome.",
    version=lambda: version("workflow-reliability-kit"),
)
# By its name, so that the other commands do not wait for a SQL library to load.
app.command("kit.cli.ledger:ledger", name="ledger", help="Prepare a database for the ledger, and read what it says.")
app.command(
    "kit.cli.contracts:contracts",
    name="contracts",
    help="Lock the contracts of a service, and refuse changes that strand runs in flight.",
)
app.command(
    "kit.cli.lint:lint", name="lint", help="Check workflow and connector sources for what is unsafe by its looks."
)
app.command(
    "kit.cli.hold:hold",
    name="hold",
    help="Stop a workflow type, an operation, a dependency, a tenant or a kind of effect.",
)
app.command("kit.cli.map:map", name="map", help="Print the effects of a workflow: order, effect, once, key, undo.")
app.command(
    "kit.cli.verify:verify",
    name="verify",
    help="Put workflows under every fault at every point, and check every invariant.",
)
app.command("kit.cli.replay:replay", name="replay", help="Replay recorded histories on the code of now.")
app.command(
    "kit.cli.replay_batch:replay_events",
    name="replay-batch",
    help="Re-drive past events: slowly, in order per entity, and on after an interruption.",
)
app.command(
    "kit.cli.rollback:rollback",
    name="rollback-check",
    help="Can the previous version finish what the new one began, and the other way round?",
)
app.command("kit.cli.tasks:tasks", name="tasks", help="List, show and decide what waits for a person.")
app.command(
    "kit.cli.reconcile:reconcile",
    name="reconcile",
    help="Compare the systems of a service by its invariants, repair, ask, and report; now or on a schedule.",
)
app.command(
    "kit.cli.incident:incident",
    name="incident",
    help="Walk an incident from containing it to its end, which is refused while an invariant is violated.",
)
app.command("kit.cli.unwind:unwind", name="unwind", help="Undo what closed runs have done.")
app.command("kit.cli.sweeper:sweeper", name="sweeper", help="Have runs that were cut off unwound.")


@app.command
async def demo(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the service's demo: orders through success and partial failure, with what every external system saw.

    Args:
        once: End after the verdict, with exit code 0 when all is well and 1 when not. Without it everything stays up
            until Ctrl-C, to look around in.
        json: Print one JSON document instead of a table. What else is said goes to stderr.
    """
    return await find_demo()(once=once, json=json)


@app.command
async def worker() -> int:
    """Run a worker of the service until SIGTERM or Ctrl-C; what is at work then is finished first."""
    return await find_app().work()


def main() -> NoReturn:
    """The ``kit`` command."""
    leave(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry one command out; returns its exit code: 0 done, 1 it failed, 2 it could not begin."""
    try:
        result = asyncio.run(app.run_async(arguments, result_action="return_value"))
    except KitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as left:  # the parser's own, about arguments that it does not understand
        return 2 if left.code else 0
    return result if isinstance(result, int) else 0
