"""What another version of a service is asked, as a process in its folder.

``python -m <this package> watch QUESTION ANSWER`` replays histories on that version's code; ``host APP`` runs its
worker.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory

from . import hosting
from .watch import watch

OTHER = "KIT_ROLLBACK_OTHER"
"""The variable that names the folder of the other version, where it may be on the import path, too."""


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Replay.

    Args:
        question: ``workflows``: classes as ``module:qualname``; ``histories``: pairs of an id and a serialized history.

    Returns:
        ``missing``: classes that this version does not have, with the reason; ``watched``: one for each history.
    """
    from kit.worker import ReliabilityPlugin  # noqa: PLC0415 - of the version that this process runs

    found, missing = [], {}
    for name in question["workflows"]:
        if why := hosting.missing(name):
            missing[name] = why
        else:
            found.append(hosting.load(name))
    histories = [
        WorkflowHistory(workflow_id, list(History.FromString(base64.b64decode(data)).events))
        for workflow_id, data in question["histories"]
    ]
    watched = asyncio.run(watch(histories, workflows=found, plugins=[ReliabilityPlugin()])) if found else []
    return {"missing": missing, "watched": [asdict(one) for one in watched]}


def leave_out(other: Path) -> None:
    """Take the folder of another version off the import path, where an editable install has put it.

    A module that this version does not have would come from there, and the other version would be asked instead. What
    is installed below it, as in an environment in that folder, stays.
    """
    installed = Path(sys.prefix).resolve()
    kept = []
    for entry in sys.path:
        path = Path(entry).resolve()
        if not path.is_relative_to(other) or path.is_relative_to(installed):
            kept.append(entry)
        else:  # the same folder of this version: the code may lie in `src`
            kept.append(str(Path.cwd() / path.relative_to(other)))
    sys.path[:] = kept


def main() -> None:
    """The command."""
    if other := os.environ.get(OTHER):
        leave_out(Path(other))
    if sys.argv[1] == "host":
        hosting.main(sys.argv[2])
    question, written = sys.argv[2:]
    result = answer(json.loads(Path(question).read_text(encoding="utf-8")))
    Path(written).write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # the teardown of an interpreter that ran a worker aborts now and then


if __name__ == "__main__":
    main()
