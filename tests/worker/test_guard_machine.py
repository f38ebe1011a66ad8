"""Random interleavings of attempts, undos, crashes, lost replies and late effects, judged by the provider's record."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from temporalio.exceptions import ApplicationError

from kit.contract import Outcome
from kit.errors import LedgerUnavailable
from kit.ledger import ClaimAction, ClaimUndo, Command, Complete, Doubt, Release, ReleaseUndo, Undone
from kit.worker.work import LEASE_MARGIN
from tests.worker.world import (
    DECLINED,
    NEVER,
    OK,
    SETTLE,
    STRATEGIES,
    TIMEOUT,
    UNSENT,
    Crash,
    Failure,
    Fault,
    Receipt,
    Strategy,
    VirtualLoop,
    World,
    now,
)

VIRTUAL_TIME = True

LAGS = [0.0, 0.0, 0.9, 1.9]
"""Seconds between the server's start of an attempt and its arrival at the worker."""

COMMANDS: list[type[Command]] = [ClaimAction, ClaimUndo, Complete, Doubt, Release, ReleaseUndo, Undone]

_wait = st.sampled_from([0.0, 0.5, 4.0, 8.0, 20.0])
_lost = st.builds(lambda wait, hang: Fault(wait=wait, after=TimeoutError("lost"), hang=hang), _wait, _wait)
_gone = st.builds(lambda wait: Fault(wait=wait, before=TimeoutError("vanished")), _wait)
_late = st.builds(
    lambda wait, late: Fault(wait=wait, late=late), st.sampled_from([0.0, 4.0]), st.floats(0.1, SETTLE.total_seconds())
)
_slow = st.builds(lambda wait, hang: Fault(wait=wait, hang=hang), _wait, _wait)
_crash = st.builds(lambda wait: Fault(wait=wait, before=Crash("before")), _wait) | st.builds(
    lambda hang: Fault(hang=hang, after=Crash("after")), _wait
)
faults = st.lists(st.sampled_from([OK, UNSENT, DECLINED]) | _lost | _gone | _late | _slow | _crash, max_size=3)
troubles = st.lists(_lost | _gone | _slow | _crash | st.just(UNSENT), max_size=2)


class Interleavings(RuleBasedStateMachine):
    """Attempts of one action and its undo, as many at once as may be, over one provider and one ledger.

    What is assumed, and nothing else: the provider keeps what the once-strategy promises; an accepted request takes
    effect within the settle time; an attempt reaches its worker within a tenth of its timeout and the lease's margin.
    """

    strategy: Strategy

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.world = World(self.strategy, persistent=True)
        self.running: list[asyncio.Task[None]] = []
        self.begun_undo = False
        self.undone = False
        self.wrong: list[str] = []

    # -- what happens --------------------------------------------------------------------------------------------------

    @rule(faults=faults, looks=troubles, lag=st.sampled_from(LAGS))
    def attempt_action(self, faults: list[Fault], looks: list[Fault], lag: float) -> None:
        """The server starts an attempt of the action."""
        self.world.fault("charge", *faults).fault("find", *looks)
        self._start(self._act(lag))

    @rule(looks=troubles, voids=troubles, lag=st.sampled_from(LAGS))
    def attempt_undo(self, looks: list[Fault], voids: list[Fault], lag: float) -> None:
        """The server starts an attempt of the undo."""
        self.world.fault("find", *looks).fault("void", *voids)
        self.begun_undo = True
        self._start(self._undo(lag))

    @rule(
        command=st.sampled_from(COMMANDS),
        error=st.sampled_from([LedgerUnavailable("down"), Crash("at the ledger")]),
        reply=st.booleans(),
        times=st.sampled_from([1, 1, 2, 30]),
    )
    def break_ledger(self, command: type[Command], error: BaseException, reply: bool, times: int) -> None:
        """The ledger will fail, before or after it has done its work, or the worker dies there."""
        if reply:
            self.world.ledger.lose_reply(command, error)
        else:
            self.world.ledger.fail(command, error, times=times)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def shut_worker_down(self, data: st.DataObject) -> None:
        """A worker stops one of its attempts."""
        data.draw(st.sampled_from(self.running)).cancel()
        self._pass(0.001)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 5.0, 10.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        """The clock goes on."""
        self._pass(seconds)

    # -- what must be true ---------------------------------------------------------------------------------------------

    @invariant()
    def no_attempt_told_a_falsehood(self) -> None:
        """Every answer agreed with the provider's record when it was given."""
        assert not self.wrong

    @invariant()
    def at_most_one_effect_is_live(self) -> None:
        """Money never moves twice."""
        assert self.world.provider.live("o-1") <= 1
        assert self.world.provider.made("o-1") <= 1

    @invariant()
    def nothing_is_live_after_its_undo(self) -> None:
        """When an undo has said that it is done, nothing is there, and nothing comes."""
        assert not (self.undone and self.world.provider.live("o-1"))

    def teardown(self) -> None:
        """However it was left: the undo ends it, or a person is asked where a machine cannot know."""
        try:
            self._pass(60)
            for queue in self.world.provider.faults.values():
                queue.clear()
            self.world.ledger.before.clear()
            self.world.ledger.after.clear()
            end = self.loop.run_until_complete(self.world.drive(self.world.undo))
            if isinstance(end, Failure):
                assert end.needs_person
                assert self.strategy is NEVER
            else:
                self.undone = True
            self._pass(60)
            self.at_most_one_effect_is_live()
            self.nothing_is_live_after_its_undo()
            self.no_attempt_told_a_falsehood()
        finally:
            for task in self.running:
                task.cancel()
            self._pass(1)
            self.loop.close()

    # -- how it is done ------------------------------------------------------------------------------------------------

    async def _act(self, lag: float) -> None:
        attempt = self.world.attempt("o-1", "action")
        attempt.started_at = now() - timedelta(seconds=lag)
        provider = self.world.provider
        try:
            result = await self.world.act(attempt=attempt)
        except ApplicationError as error:
            failure = Failure.of(error)
            clean = failure.outcome in (Outcome.REFUSED, Outcome.NOT_STARTED)
            if clean and provider.live("o-1"):
                self.wrong.append(f"{failure} for an effect that is live")
            return
        if result != Receipt(charge="ch_1") or not provider.made("o-1"):
            self.wrong.append(f"returned {result!r} for {provider.charges}")
        if not provider.live("o-1") and not self.begun_undo:
            self.wrong.append(f"returned {result!r} for an effect that is not there")

    async def _undo(self, lag: float) -> None:
        attempt = self.world.attempt("o-1", "undo")
        attempt.started_at = now() - timedelta(seconds=lag)
        try:
            happened = await self.world.undo(attempt=attempt)
        except ApplicationError:
            return
        self.undone = True
        if happened != bool(self.world.provider.made("o-1")):
            self.wrong.append(f"the undo said happened={happened}")

    def _start(self, attempt: Coroutine[Any, Any, None]) -> None:
        self.running.append(self.loop.create_task(attempt))
        self._pass(0.001)

    def _pass(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for task in [task for task in self.running if task.done()]:
            self.running.remove(task)
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                raise error


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_no_interleaving_moves_money_twice_or_leaves_it_moved(strategy: Strategy) -> None:
    """No order of attempts, undos, crashes and lost replies breaks what the guard guarantees."""
    machine = type(f"Interleavings_{strategy.name}", (Interleavings,), {"strategy": strategy})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_the_attempts_time_is_what_the_machine_assumes() -> None:
    """The lag that the machine allows stays within what cut-off and lease leave."""
    assert timedelta(seconds=max(LAGS)) < TIMEOUT * 0.1 + LEASE_MARGIN
