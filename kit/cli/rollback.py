"""``kit rollback-check``: can the previous version finish what the new one began, and the other way round?"""

from __future__ import annotations

import json as documents
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.discovery import find_folder, find_optional, find_workflows
from kit.errors import DefinitionError
from kit.testing.gates.rollback import Service, Stage, rollback_check, told
from kit.testing.gates.rollback.checking import LIMIT

rollback = App(
    name="rollback-check", help="Can the previous version finish what the new one began, and the other way round?"
)

Flag = Parameter(negative="")


@rollback.default
async def check(
    *,
    base: str,
    points: int = LIMIT,
    all: Annotated[bool, Flag] = False,
    within: float | None = None,
    replay_only: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Take every run in flight of one version over with the other. The exit code is 0 when none strands, else 1.

    A run in flight is a recorded run (tests/histories, and every scenario of the service's stage, played with both
    versions) up to each of its workflow tasks. The other version's code replays it and reads its payloads; a chosen few
    are finished by the other version's worker on a real server, and the stage's invariants are checked.

    Args:
        base: The previous version: a commit, a tag or a branch of the service's git repository.
        points: How many points of each direction are finished on a real server.
        all: Finish every point there.
        within: Begin to finish no further point when so many seconds have passed; the report says how many are left.
        replay_only: Finish none: replay and read payloads only. Takes seconds, and starts no worker.
        json: Print one JSON document. What is being done goes to standard error.
    """
    target, stage = (None, None) if replay_only else _stage()
    service = Service(find_folder(), find_workflows(), stage, target or "")
    if replay_only:
        service = replace(service, unplayed="--replay-only was given")
    bound = None if within is None else timedelta(seconds=within)
    report = await rollback_check(service, base, limit=None if all else points, within=bound, say=_say)
    if json:
        print(documents.dumps(report.to_json(), indent=2))
    else:
        for line in told(report):
            print(line)
    return 0 if report.safe else 1


def _stage() -> tuple[str | None, Stage | None]:
    """The service's stage, if it has one."""
    found = find_optional("rollback")
    if found is None:
        return None, None
    name, stage = found
    if not isinstance(stage, Stage):
        raise DefinitionError(
            f"rollback = {name!r}",
            rule=f"it is {stage!r}, no Stage",
            fix="name an object of a class that derives from kit.testing.gates.rollback.Stage",
        )
    return name, stage


def _say(line: str) -> None:
    print(line, file=sys.stderr)
