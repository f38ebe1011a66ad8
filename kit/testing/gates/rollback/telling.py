"""What a rollback check came to, in words: until where a run can change its version, what strands, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from kit.testing.gates.rollback.checking import Report
from kit.testing.gates.rollback.points import Direction, Point, State

_TITLES = {
    Direction.BACK: "Rollback: begun by the new code, finished by the old ({base})",
    Direction.FORTH: "Deploy: begun by the old code ({base}), finished by the new",
}

_MEANING = {
    State.STUCK: "A stuck run stands still, with its effects, until code that fits is deployed again.",
    State.UNREADABLE: "A run whose payload cannot be read stands still, with its effects, until code that can is "
    "deployed; one that has only been submitted fails at once, with no step taken.",
    State.ALTERED: "A run with altered values goes on, and nobody is told.",
    State.VIOLATED: "The run ends, and leaves the world wrong.",
}

_ADVICE = {
    Direction.BACK: (
        "keep workers of this version up for the runs that are past the point (a PINNED workflow does), or drain them "
        "first, or mend forward",
        "release in two steps: first code that can read and replay the new runs, then the code that makes them",
    ),
    Direction.FORTH: (
        "keep workers of the old version up for the runs that are past the point (a PINNED workflow does), or drain",
        "guard the change with workflow.patched, and give new fields of payloads a default",
    ),
}


def told(report: Report) -> Iterator[str]:
    """The report, line by line."""
    for way in Direction:
        points = [point for point in report.points if point.direction is way]
        if not points:
            continue
        yield _TITLES[way].format(base=report.base)
        for run, of_run in groupby(points, key=lambda point: (point.run, point.workflow)):
            listed = list(of_run)
            yield f"  {run[0]} ({run[1]}, {len(listed)} points): {until(listed)}"
            if any(point.strands for point in listed):
                yield from _points(listed)
        yield from _noted(points)
        yield from _what(way, points)
        yield ""
    for note in report.notes:
        yield f"Note: {note}"
    strand = [point for point in report.points if point.strands]
    yield (
        f"{len(report.points)} points, {report.played} of them finished on a real server: "
        + _verdict(report, len(strand))
    )


def _verdict(report: Report, strand: int) -> str:
    if strand:
        return f"{strand} {'strands' if strand == 1 else 'strand'}"
    if report.points:
        return "no run strands"
    return "the old code has no workflow to go back to" if report.begins else "nothing was checked"


def until(points: Sequence[Point]) -> str:
    """Until which step a run can change its version, in words.

    Args:
        points: All of one run, in order.
    """
    bad = next((place for place, point in enumerate(points) if point.strands), None)
    if bad is None:
        return "at any point"
    if bad == 0:
        return "never: not even a run that has only been submitted"
    word = f"until {' and '.join(points[bad - 1].next) or 'it waits'}"
    if not all(point.strands for point in points[bad:]):
        again = next(point for point in points[bad:] if not point.strands)
        return f"{word}; then not before {again.place.partition(', ')[0].removeprefix('after ')} has ended"
    return f"{word}; from then on it strands"


def _points(points: Sequence[Point]) -> Iterator[str]:
    last = ""
    for point in points:
        mark = point.state.value.upper() if point.strands else point.state.value
        played = ", played" if point.played else ""
        yield f"    {point.task:>2}. {point.place}: {mark}{played}"
        if point.why and point.why != last:
            yield f"        {point.why}"
        last = point.why


def _noted(points: Sequence[Point]) -> Iterator[str]:
    """What else is worth knowing, each once: where it is seen first, and at how many points."""
    seen: dict[str, list[Point]] = {}
    for point in points:
        for note in point.notes:
            seen.setdefault(note, []).append(point)
    for note, where in seen.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        yield f"  Noted at point {where[0].task} of {where[0].run}{more}: {note}"


def _what(way: Direction, points: Sequence[Point]) -> Iterator[str]:
    states = [state for state in State if any(point.state is state for point in points) and state in _MEANING]
    for state in states:
        yield f"  {_MEANING[state]}"
    if states:
        yield "  What to do, one of:"
        for line in _ADVICE[way]:
            yield f"  - {line}"
