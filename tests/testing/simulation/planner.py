"""Makes random plans, and what comes from outside while they are carried out.

A plan is made so that its order does not depend on who is quicker: what runs side by side is joined before anything
else is asked for; what comes from outside comes while the workflow waits for nothing else; a child that is cancelled
and not waited for outlives its parent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from temporalio.workflow import ActivityCancellationType, ChildWorkflowCancellationType, ParentClosePolicy

from tests.testing.simulation.plans import Op

Stimulus = tuple[str, str]
"""What is done from outside each time the workflow holds: the verb, and its word."""

TRY, WAIT, ABANDON = (
    int(ActivityCancellationType.TRY_CANCEL),
    int(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED),
    int(ActivityCancellationType.ABANDON),
)

LAST: Final = ("cancel", "terminate")
"""Verbs after which nothing more comes."""


def plan(seed: int) -> tuple[list[Op], list[Stimulus]]:
    """The plan of a seed: from two to five things, and an end."""
    planner = _Planner(seed)
    return planner.plan(), planner.stimuli


class _Planner:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - a sample, no secret
        self._names = (f"n{number}" for number in range(1000))
        self.stimuli: list[Stimulus] = []

    def plan(self) -> list[Op]:
        ops = [self._pick() for _ in range(self._chance.randint(2, 5))]
        return [*ops, *self._end()]

    def _pick(self) -> Op:
        often: list[Callable[[], Op]] = [self._act, self._act, self._both, self._child, self._hold, self._cancelling]
        seldom = [self._sleep, self._race, self._patience, self._memo, self._patch, self._elsewhere, self._random]
        return self._chance.choice([*often, *often, *seldom])()

    def _end(self) -> Iterator[Op]:
        match self._chance.randrange(10):
            case 0:
                yield {"op": "raise"}
            case 1:
                yield {"op": "again"}
                yield self._act()
            case 2:
                yield {"op": "act", "name": next(self._names), "script": ["final"], "fatal": True}
            case 3 | 4:  # last, for the real server skips no time while a child runs
                close = self._chance.choice([ParentClosePolicy.TERMINATE, ParentClosePolicy.REQUEST_CANCEL])
                child = [{"op": "hold", "words": 1, "fatal": True}]
                yield {"op": "child", "name": next(self._names), "ops": child, "detached": True, "close": int(close)}

    # --- activities -------------------------------------------------------------------------------------------------

    def _act(self) -> Op:
        op: Op = {"op": "act", "name": next(self._names)}
        kinds: list[Op] = [
            {"script": ["ok"]},
            {"script": ["ok"]},
            {"script": ["fail", "fail", "ok"]},
            {"script": ["fail"]},
            {"script": self._chance.choice([["final"], ["declared"], ["fail", "final"], ["bug", "ok"]])},
            {"script": ["later", "ok"]},
            {"script": ["beat", "beat", "ok"], "beat": 10},
            {"script": ["hang"], "attempt": 0.5, "attempts": 1},
            {"script": ["hang", "ok"], "attempt": 1},
            {"script": ["fail"], "all": 25, "attempts": 0},
            {"script": ["hang"], "all": 1, "attempts": 0},
            {"script": ["beat", "hang"], "attempt": 1, "beat": 10, "attempts": 2},
            {"script": ["beat", "hang"], "all": 12, "beat": 10, "attempts": 0},
            {"script": ["ok"], "start": 0.5},
            {"script": ["beat", "hang"], "beat": 1, "attempts": 2},
        ]
        return op | self._chance.choice(kinds)

    def _both(self) -> Op:
        return {"op": "both", "parts": [self._act() for _ in range(self._chance.randint(2, 3))]}

    def _cancelling(self) -> Op:
        op: Op = {"op": "cancelling", "name": next(self._names), "attempts": 1, "attempt": 30, "beat": 10}
        op["kind"] = self._chance.choice([TRY, WAIT, ABANDON])
        op["script"] = self._chance.choice([["listen"], ["listen", "obstinate"]])
        if op["kind"] == ABANDON:
            op["script"] = ["nap"]  # nobody will tell it to stop
        if self._ended or self._chance.random() < 0.3:
            return op
        self.stimuli.append(("signal once it begins", op["name"]))
        return op | {"words": self._heard}

    # --- timers and notes -------------------------------------------------------------------------------------------

    def _sleep(self) -> Op:
        return {"op": "sleep", "seconds": self._chance.choice([1, 60, 86_400])}

    def _race(self) -> Op:
        return {"op": "race", "seconds": self._chance.choice([5, 500]), "limit": 50}

    def _patience(self) -> Op:
        return {"op": "patience", "seconds": 600}

    def _memo(self) -> Op:
        return {"op": "memo", "note": next(self._names)}

    def _patch(self) -> Op:
        return {"op": self._chance.choice(["patch", "patch", "deprecate"]), "name": self._chance.choice(["p1", "p2"])}

    def _random(self) -> Op:
        return {"op": "random"}

    # --- what comes from outside ------------------------------------------------------------------------------------

    @property
    def _ended(self) -> bool:
        """Whether nothing more comes."""
        return any(verb in LAST for verb, _ in self.stimuli)

    @property
    def _heard(self) -> int:
        """How many words the workflow will have heard."""
        return sum(verb not in LAST for verb, _ in self.stimuli)

    def _hold(self) -> Op:
        if self._ended:
            return self._sleep()
        if self._chance.random() < 0.3:
            self.stimuli.append((self._chance.choice(LAST), ""))
            return {"op": "hold", "words": 99, "fatal": self._chance.random() < 0.4}
        verb = self._chance.choice(["signal", "update", "refused, then signal", "failed, then signal"])
        self.stimuli.append((verb, self._chance.choice(["work", "word"])))
        return {"op": "hold", "words": self._heard}

    # --- other workflows --------------------------------------------------------------------------------------------

    def _elsewhere(self) -> Op:
        return {"op": "elsewhere", "cancel": self._chance.random() < 0.5}

    def _child(self) -> Op:
        op: Op = {"op": "child", "name": next(self._names)}
        held = {"op": "hold", "words": 1, "fatal": True}
        match self._chance.randrange(6):
            case 0:
                op |= {"ops": [self._act()]}
            case 1:
                op |= {"ops": [self._sleep(), {"op": "raise"}]}
            case 2:
                op |= {"ops": [{"op": "hold", "words": 1}], "word": "hello", "outside": self._chance.random() < 0.5}
            case 3:
                op |= {"ops": [held], "cancel": True, "kind": int(ChildWorkflowCancellationType.TRY_CANCEL)}
                op |= {"close": int(ParentClosePolicy.ABANDON), "then": 0.5}
            case 4:
                kind = ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
                op |= {"ops": [held], "cancel": True, "kind": int(kind)}
            case _:
                op |= {"ops": [], "twin": True}
        return op
