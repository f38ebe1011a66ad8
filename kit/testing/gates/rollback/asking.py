"""Asks a version of a service what its code makes of histories. It answers in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import History

from kit.errors import DefinitionError
from kit.testing.gates.histories import Recording
from kit.testing.gates.rollback.versions import Version
from kit.testing.gates.watching import Activity, Ask, Difference, Reading, Task, Watched


async def ask(
    version: Version,
    recordings: Sequence[Recording],
    *,
    workflows: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[Watched], dict[str, str]]:
    """Replay histories on a version's code.

    Args:
        version: Which.
        recordings: Whole, or cut off at a workflow task.
        workflows: The classes, as ``module:qualname``.
        folder: For the question and the answer.
        environment: Variables that the version's modules need to be imported.

    Returns:
        One for each recording, and the classes that the version does not have, with the reason.

    Raises:
        DefinitionError: The version cannot answer: its code does not load.
    """
    question, answer = folder / f"question-{version.name}.json", folder / f"answer-{version.name}.json"
    histories = [
        (one.workflow_id, base64.b64encode(History(events=one.events).SerializeToString()).decode())
        for one in recordings
    ]
    question.write_text(json.dumps({"workflows": list(workflows), "histories": histories}), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *version.command("watch", str(question), str(answer)),
        cwd=version.folder,
        env=version.environment(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        raise DefinitionError(
            f"the {version.name} version",
            rule=f"its code could not be asked: {_last(said.decode(errors='replace'))}",
            fix=f"make `python -c 'import ...'` work in {version.folder}",
        )
    found = json.loads(answer.read_text(encoding="utf-8"))
    return [_watched(one) for one in found["watched"]], found["missing"]


def _last(said: str) -> str:
    """The last line of what a process said, which names the error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "its process ended without a word"


def _watched(document: dict[str, Any]) -> Watched:
    return Watched(
        failure=document["failure"],
        nondeterministic=document["nondeterministic"],
        tasks=[
            Task(task["started"], [_ask(asked) for asked in task["asks"]], task["failure"])
            for task in document["tasks"]
        ],
        recorded={int(at): [_ask(asked) for asked in asks] for at, asks in document["recorded"].items()},
        readings=[
            Reading(**{**reading, "differences": [Difference(**one) for one in reading["differences"]]})
            for reading in document["readings"]
        ],
    )


def _ask(document: dict[str, Any]) -> Ask:
    activity = document["activity"]
    return Ask(**{**document, "activity": Activity(**activity) if activity else None})
