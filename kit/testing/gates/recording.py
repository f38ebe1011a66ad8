"""``kit replay record``: a handful of histories that cover what a workflow can go through.

A sweep runs every single fault; most of the runs look alike to a workflow. Kept are as few as cover every way to end,
every kind of event and every activity that any of them has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History

from kit.errors import DefinitionError
from kit.testing.gates.explaining import told
from kit.testing.gates.histories import read, recording_of, write
from kit.testing.gates.replaying import check
from kit.testing.runs import Run
from kit.testing.sweep import run_scenario, sweep
from kit.testing.sweep.engines import SIMULATION, Choice
from kit.testing.world import Subject


async def record(
    subject: Subject, folder: Path, *, scenarios: Sequence[str] = (), engine: Choice = SIMULATION
) -> list[Path]:
    """Record a workflow's histories, in place of those that were recorded of it before.

    Args:
        subject: The workflow, its request and its world.
        folder: Below it, in a folder of the workflow's name, the files are written.
        scenarios: Which, by their ids; by default a cover of the clean run and every single fault.
        engine: What runs them. The simulation's are the same each time; the server's bear the time of day.

    Returns:
        The files.

    Raises:
        DefinitionError: A run does not replay on the code that made it: the workflow is not deterministic.
        UnsupportedScenario: The engine does not model what a scenario needs.
    """
    if scenarios:
        runs = [await run_scenario(subject, scenario, engine=engine) for scenario in scenarios]
    else:
        runs = cover((await sweep(subject, depth=1, engine=engine)).runs)
    recordings = [recording_of(run) for run in runs]
    for replayed in await check(recordings, workflows=_classes(subject)):
        if not replayed.fits:
            raise DefinitionError(
                f"workflow {replayed.workflow}",
                rule="a run does not replay on the code that made it: " + " ".join(told([replayed])),
                fix="take what is not deterministic out of the workflow: clocks, randomness, sets, I/O",
            )
    if not scenarios:
        _forget(folder / recordings[0].name.partition("/")[0])
    return [write(recording, folder) for recording in recordings]


def cover(runs: Iterable[Run]) -> list[Run]:
    """As few runs as have, together, everything that any of them has: the smallest first, the clean one among them."""
    left = sorted((run for run in runs if run.history), key=lambda run: (len(run.scenario.faults), str(run.scenario)))
    if not left:
        return []
    chosen = [left.pop(0)]
    seen = set(_features(chosen[0]))
    while left:
        # The first of the best: ties are decided by the order, so the choice is the same each time.
        best = max(left, key=lambda run: len(_features(run) - seen))
        if not _features(best) - seen:
            break
        left.remove(best)
        chosen.append(best)
        seen |= _features(best)
    return chosen


def _features(run: Run) -> set[str]:
    """What a replay of a run puts to the test."""
    found = {f"ends {run.ending}", f"repaired {run.repaired}"}
    for event in History.FromString(run.history).events:
        kind = EventType.Name(event.event_type)
        found.add(kind)
        if event.HasField("activity_task_scheduled_event_attributes"):
            found.add(event.activity_task_scheduled_event_attributes.activity_type.name)
        if event.activity_task_started_event_attributes.attempt > 1:
            found.add("retried")
    return found


def _forget(folder: Path) -> None:
    """Take away what was recorded before; a history that came from elsewhere stays."""
    for file in folder.glob("*.json"):
        if read(file).scenario:
            file.unlink()


def _classes(subject: Subject) -> list[type]:
    return [subject.workflow, *subject.others]
