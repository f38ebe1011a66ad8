"""The whole check: both versions, every point of every recorded run, and a chosen few played to their end."""

from __future__ import annotations

import dataclasses
from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from kit.errors import DefinitionError
from kit.testing.gates.histories import FOLDER, Recording, read_all
from kit.testing.gates.replaying import diverges, name_of
from kit.testing.gates.rollback.asking import ask
from kit.testing.gates.rollback.finishing import Finished, Theatre
from kit.testing.gates.rollback.points import Direction, Point, State, judge, prefixes, spread
from kit.testing.gates.rollback.stage import Stage
from kit.testing.gates.rollback.versions import Version, present, previous
from kit.testing.gates.watching import Watched
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
        unplayed: Why there is no stage, in the report's words.
    """

    folder: Path
    workflows: Sequence[type]
    stage: Stage | None = None
    target: str = ""
    unplayed: str = "that needs a stage, which [tool.kit] rollback names"


@dataclass(frozen=True, slots=True)
class Report:
    """What a check came to.

    Attributes:
        base: What the old version is called.
        points: Every point, by direction and run.
        notes: What limits the word of the check.
        begins: The old version has none of the workflows: there is nothing to go back to.
    """

    base: str
    points: tuple[Point, ...]
    notes: tuple[str, ...] = field(default=())
    begins: bool = False

    @property
    def safe(self) -> bool:
        """Whether no run strands anywhere, and something was checked where there was something to check."""
        return (self.begins or bool(self.points)) and not any(point.strands for point in self.points)

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
    within: timedelta | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Check a service against its previous version.

    Args:
        service: What.
        base: The previous version, as git knows it.
        limit: How many points of one direction are played to their end on a real server; ``None`` for all.
        within: When so much time has passed no further point is played, and the report says so; ``None`` for no bound.
            Judging by replay and types takes the time that it takes.
        say: Told what is being done.

    Raises:
        DefinitionError: There is no such version, or one of the two cannot be run.
    """
    until = monotonic() + within.total_seconds() if within is not None else inf
    with TemporaryDirectory(prefix="kit-rollback-") as name:
        folder = Path(name)
        check = _Check(service, present(service.folder, folder), previous(service.folder, base, folder), folder, say)
        return await check.run(base, limit, until)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a version says: of its own runs, of every point of the other's, and which workflows it does not have."""

    own: Sequence[Watched]
    points: Sequence[Watched]
    missing: Mapping[str, str]


_NOTHING: Final = Watched()
"""Stands for the answer of a version that has none of the workflows."""


class _Check:
    def __init__(self, service: Service, new: Version, old: Version, folder: Path, say: Callable[[str], None]) -> None:
        self._service = service
        self._versions: Mapping[str, Version] = {"new": new, "old": old}
        self._folder = folder
        self._say = say
        self._notes = [*new.notes, *old.notes]
        self._begins = False
        self._classes = {name_of(cls): f"{cls.__module__}:{cls.__qualname__}" for cls in service.workflows}

    async def run(self, base: str, limit: int | None, until: float) -> Report:
        stored = {way: read_all(self._versions[_first(way)].folder / FOLDER) for way in Direction}
        if self._service.stage is None:
            self._notes.append(f"nothing was finished on a real server: {self._service.unplayed}")
            return self._report(base, await self._judge(stored))
        self._say("starting a server, the stage and a worker of each version")
        both = (self._versions["new"], self._versions["old"])
        async with Theatre.open(self._service.stage, self._service.target, both, self._folder) as theatre:
            # What one version does and what the other does is done at once: each has a worker of its own.
            whole = dict(zip(Direction, await gather(*(self._whole(theatre, way) for way in Direction)), strict=True))
            points = await self._judge(
                {way: [*(run.history for run in whole[way].values()), *stored[way]] for way in Direction}
            )
            await gather(*(self._play(theatre, points[way], whole[way], limit, until) for way in Direction))
        return self._report(base, points)

    async def _whole(self, theatre: Theatre, way: Direction) -> dict[str, Finished]:
        """Every scenario, from its start to its end with the first version, by the name of its history."""
        first = _first(way)
        found = {}
        for scenario in await theatre.scenarios(first):
            self._say(f"{first} code: {scenario}, from its start to its end")
            finished = await theatre.play(scenario, first=first)
            assert finished is not None  # noqa: S101 - a run that does not change its version always ends
            self._own_fault(first, scenario, finished)
            found[finished.history.name] = finished
        return found

    async def _play(
        self, theatre: Theatre, points: list[Point], whole: Mapping[str, Finished], limit: int | None, until: float
    ) -> None:
        """Play a chosen few of the points of one direction to their end, and put in their place what came of it."""
        own = [point for point in points if point.run in whole]
        # What already looks bad comes first: there may not be time for all.
        chosen = sorted(own if limit is None else spread(own, limit), key=lambda point: not point.strands)
        for done, point in enumerate(chosen):
            if monotonic() > until:
                left = f"{len(chosen) - done} of {len(chosen)} points {point.direction}"
                self._notes.append(f"the time was over before {left} were played")
                return
            baseline = whole[point.run]
            scenario, first, second = baseline.history.scenario, _first(point.direction), _second(point.direction)
            self._say(f"{first} to {second} code: {scenario}, {point.place}")
            ended = await theatre.play(scenario, first=first, second=second, task=point.task)
            points[points.index(point)] = _ended(point, ended, baseline)

    def _own_fault(self, version: str, scenario: str, finished: Finished) -> None:
        """A version that breaks an invariant by itself says nothing of a change of versions."""
        if finished.wrong or finished.ending is Ending.STUCK:
            wrong = "; ".join(finished.wrong) or finished.why
            self._notes.append(f"{scenario} goes wrong with the {version} code alone: {wrong}")

    async def _judge(self, recordings: Mapping[Direction, Sequence[Recording]]) -> dict[Direction, list[Point]]:
        """Every point of some recordings, by replay and by types."""
        known = {way: [one for one in recordings[way] if one.workflow in self._classes] for way in Direction}
        for way in Direction:
            if not known[way]:
                self._notes.append(f"there is no recorded run of the {_first(way)} code: nothing was checked {way}")
        new, old = await gather(self._ask("new", known), self._ask("old", known))
        self._begins = old.missing.keys() == set(self._classes.values())
        for name in sorted(old.missing):
            self._notes.append(
                f"the old code has no {name.rpartition(':')[2]}: after a rollback its runs stand still until it is back"
            )
        gone = [
            point
            for one in recordings[Direction.FORTH]
            if one.workflow not in self._classes
            for point in judge(one, (), direction=Direction.FORTH, own=_NOTHING, missing="its workflows do not name it")
        ]
        return {
            Direction.BACK: self._points(Direction.BACK, known[Direction.BACK], new, old),
            Direction.FORTH: [*self._points(Direction.FORTH, known[Direction.FORTH], old, new), *gone],
        }

    async def _ask(self, version: str, known: Mapping[Direction, Sequence[Recording]]) -> _Answer:
        """What a version makes of its own runs, and of every point of the other's."""
        own, others = (known[way] for way in sorted(Direction, key=lambda way: _first(way) != version))
        points = prefixes(others)
        self._say(f"{version} code: replaying {len(own)} runs of its own and {len(points)} points of the other's")
        watched, missing = await ask(
            self._versions[version], [*own, *points], workflows=list(self._classes.values()), folder=self._folder
        )
        for name, why in missing.items():
            if version == "new":
                raise DefinitionError(name, rule=f"it cannot be loaded: {why}", fix="give it a module of its own")
        return _Answer(watched[: len(own)], watched[len(own) :], missing)

    def _points(self, way: Direction, recordings: Sequence[Recording], mine: _Answer, other: _Answer) -> list[Point]:
        """The points of one direction, but for runs that the first version did not make or the old one cannot know."""
        points: list[Point] = []
        own, watched = iter(mine.own), iter(other.points)
        for recording in recordings:
            its_own, of_run = next(own, _NOTHING), [next(watched, _NOTHING) for _ in recording.tasks]
            if self._classes[recording.workflow] in {*mine.missing, *other.missing}:
                continue
            if (left := diverges(its_own)) is not None:
                self._notes.append(
                    f"{recording.name} was not recorded from the {_first(way)} code (event {left.event}: "
                    f"{left.recorded!r}, it would {left.now!r}): left out; `kit replay record` renews it"
                )
                continue
            points += judge(recording, of_run, direction=way, own=its_own)
        return points

    def _report(self, base: str, points: Mapping[Direction, Sequence[Point]]) -> Report:
        return Report(
            base, tuple(point for way in Direction for point in points[way]), tuple(self._notes), self._begins
        )


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
