"""The whole check: both versions, every point of every recorded run, and a chosen few played to their end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from kit.errors import DefinitionError
from kit.testing.gates.histories import FOLDER, Recording, read_all
from kit.testing.gates.replaying import diverges, name_of
from kit.testing.gates.rollback.asking import ask
from kit.testing.gates.rollback.finishing import Finished, Theatre
from kit.testing.gates.rollback.points import Direction, Point, State, judge, prefixes, spread
from kit.testing.gates.rollback.stage import Stage
from kit.testing.gates.rollback.versions import Version, present, previous
from kit.testing.runs import Ending

LIMIT: Final = 6
"""How many points of one direction are played to their end when nothing is said."""

_OPEN: Final = frozenset({Ending.PARKED, Ending.STUCK, Ending.FAILED})
"""Endings that a run has for its change of version, unless it has them without one."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is checked.

    Attributes:
        folder: Where its ``pyproject.toml`` lies.
        workflows: Its workflow classes.
        stage: Where its runs are played; ``None`` to judge recorded histories only.
        target: Where the stage is, as ``module:attribute``.
    """

    folder: Path
    workflows: Sequence[type]
    stage: Stage | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check came to.

    Attributes:
        base: What the old version is called.
        points: Every point, by direction and run.
        notes: What limits the word of the check.
    """

    base: str
    points: tuple[Point, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def safe(self) -> bool:
        """Whether no run strands anywhere, and something was checked."""
        return bool(self.points) and not any(point.strands for point in self.points)

    @property
    def played(self) -> int:
        """How many points were finished on a real server."""
        return sum(point.played for point in self.points)

    def to_json(self) -> dict[str, Any]:
        """It as a document."""
        points = [
            {**dataclasses.asdict(point), "strands": point.strands, "place": point.place} for point in self.points
        ]
        return {"base": self.base, "safe": self.safe, "played": self.played, "points": points, "notes": self.notes}


async def rollback_check(
    service: Service,
    base: str,
    *,
    limit: int | None = LIMIT,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Check a service against its previous version.

    Args:
        service: What.
        base: The previous version, as git knows it.
        limit: How many points of one direction are played to their end on a real server; ``None`` for all.
        say: Told what is being done.

    Raises:
        DefinitionError: There is no such version, or one of the two cannot be run.
    """
    with TemporaryDirectory(prefix="kit-rollback-") as name:
        folder = Path(name)
        check = _Check(service, present(service.folder, folder), previous(service.folder, base, folder), folder, say)
        return await check.run(base, limit)


class _Check:
    def __init__(self, service: Service, new: Version, old: Version, folder: Path, say: Callable[[str], None]) -> None:
        self._service = service
        self._versions: Mapping[str, Version] = {"new": new, "old": old}
        self._folder = folder
        self._say = say
        self._notes = [*new.notes, *old.notes]

    async def run(self, base: str, limit: int | None) -> Report:
        stored = {name: read_all(version.folder / FOLDER) for name, version in self._versions.items()}
        if self._service.stage is None:
            self._notes.append(
                "nothing was finished on a real server: that needs a stage, which [tool.kit] rollback names"
            )
            points = [point for way in Direction for point in await self._judge(way, stored[_first(way)])]
            return self._report(base, points)
        self._say("starting a server, the stage and a worker of each version")
        both = (self._versions["new"], self._versions["old"])
        async with Theatre.open(self._service.stage, self._service.target, both, self._folder) as theatre:
            found: list[Point] = []
            for way in Direction:
                found += await self._one_way(theatre, way, stored[_first(way)], limit)
        return self._report(base, found)

    async def _one_way(
        self, theatre: Theatre, way: Direction, stored: Sequence[Recording], limit: int | None
    ) -> list[Point]:
        """Everything in one direction."""
        first = _first(way)
        whole = {}
        for scenario in theatre.stage.scenarios:
            self._say(f"{first} code: {scenario}, from its start to its end")
            finished = await theatre.play(scenario, first=first)
            assert finished is not None  # noqa: S101 - a run that does not change its version always ends
            self._own_fault(first, scenario, finished)
            whole[finished.history.name] = finished
        fresh = [finished.history for finished in whole.values()]
        points = await self._judge(way, [*fresh, *stored])
        chosen = [point for point in points if point.run in whole]
        chosen = chosen if limit is None else spread(chosen, limit)
        played = {}
        for point in chosen:
            baseline = whole[point.run]
            self._say(f"{first} to {_second(way)} code: {baseline.history.scenario}, {point.place}")
            ended = await theatre.play(baseline.history.scenario, first=first, second=_second(way), task=point.task)
            played[point.run, point.task] = _ended(point, ended, baseline)
        return [played.get((point.run, point.task), point) for point in points]

    def _own_fault(self, version: str, scenario: str, finished: Finished) -> None:
        """A version that breaks an invariant by itself says nothing of a change of versions."""
        if finished.wrong or finished.ending is Ending.STUCK:
            wrong = "; ".join(finished.wrong) or finished.why
            self._notes.append(f"{scenario} goes wrong with the {version} code alone: {wrong}")

    async def _judge(self, way: Direction, recordings: Sequence[Recording]) -> list[Point]:
        """Every point of some recordings, by replay and by types."""
        classes = {name_of(cls): f"{cls.__module__}:{cls.__qualname__}" for cls in self._service.workflows}
        known = [one for one in recordings if one.workflow in classes]
        if not known:
            self._notes.append(f"there is no recorded run of the {_first(way)} code: nothing was checked {way}")
            return []
        self._say(f"{_second(way)} code: replaying every point of {len(known)} runs of the {_first(way)} code")
        own = await self._ask(_first(way), known, classes)
        made = []
        for recording, watched in zip(known, own, strict=True):
            if (other := diverges(watched)) is not None:
                self._notes.append(
                    f"{recording.name} was not recorded from the {_first(way)} code (event {other.event}: "
                    f"{other.recorded!r}, it would {other.now!r}): left out; `kit replay record` renews it"
                )
            else:
                made.append((recording, watched))
        watched, missing = await self._asked(_second(way), prefixes(one for one, _ in made), classes)
        points, place = [], 0
        for recording, its_own in made:
            count = len(recording.tasks)
            why = missing.get(classes[recording.workflow], "")
            points += judge(recording, watched[place : place + count], direction=way, own=its_own, missing=why)
            place += count
        return points

    async def _ask(self, version: str, recordings: Sequence[Recording], classes: Mapping[str, str]) -> list[Any]:
        watched, missing = await self._asked(version, recordings, classes)
        for name, why in missing.items():
            if version == "new":
                raise DefinitionError(name, rule=f"it cannot be loaded: {why}", fix="give it a module of its own")
        return watched

    async def _asked(
        self, version: str, recordings: Sequence[Recording], classes: Mapping[str, str]
    ) -> tuple[list[Any], dict[str, str]]:
        return await ask(self._versions[version], recordings, workflows=list(classes.values()), folder=self._folder)

    def _report(self, base: str, points: Sequence[Point]) -> Report:
        return Report(base, tuple(points), tuple(self._notes))


def _first(way: Direction) -> str:
    return "new" if way is Direction.BACK else "old"


def _second(way: Direction) -> str:
    return "old" if way is Direction.BACK else "new"


def _ended(point: Point, ended: Finished | None, baseline: Finished) -> Point:
    """A point, after a run was really finished from there."""
    if ended is None:
        return dataclasses.replace(point, notes=(*point.notes, "a run did not get there when it was played"))
    state, why = point.state, point.why
    news = tuple(one for one in ended.wrong if one not in baseline.wrong)
    if ended.ending is Ending.STUCK:
        state = State.UNREADABLE if point.state is State.UNREADABLE else State.STUCK
        why = why or ended.why
    elif news:
        state, why = State.VIOLATED, "; ".join((*news, *([why] if why else ())))
    elif ended.ending in _OPEN and ended.ending is not baseline.ending:
        state = State.UNREADABLE if point.state is State.UNREADABLE else State.VIOLATED
        why = why or f"it ends as {ended.ending.value} ({ended.why}) instead of {baseline.ending.value}"
    elif point.state in (State.STUCK, State.UNREADABLE):
        point = dataclasses.replace(
            point, notes=(*point.notes, f"yet a run that was played ended as {ended.ending.value}")
        )
    notes = point.notes
    if ended.ending is not baseline.ending and state is State.FINE:
        notes = (*notes, f"it ends as {ended.ending.value} instead of {baseline.ending.value}")
    return dataclasses.replace(point, state=state, why=why, played=True, notes=notes)
