"""An attempt's identity and time."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from temporalio.testing import ActivityEnvironment

from kit.worker.attempt import LOST, Attempt
from tests.worker.world import EPOCH, TIMEOUT


def test_now_is_the_servers_start_plus_what_has_passed_here() -> None:
    """Time is the server's, whatever the worker's own clock shows."""
    seconds = [1000.0]
    attempt = Attempt(number=1, started_at=EPOCH, timeout=TIMEOUT, clock=lambda: seconds[0])

    seconds[0] += 3.5

    assert attempt.now == EPOCH + timedelta(seconds=3.5)


def test_cut_off_is_before_the_timeout() -> None:
    """The attempt ends itself at nine tenths of its timeout, so that the guard still hears of it."""
    attempt = Attempt(number=1, started_at=EPOCH, timeout=TIMEOUT)

    assert attempt.cut_off == EPOCH + timedelta(seconds=9)


def test_every_attempt_has_an_owner_of_its_own() -> None:
    """Two attempts are never the same owner, even with the same number."""
    owners = {Attempt(number=1, started_at=EPOCH, timeout=TIMEOUT).owner for _ in range(100)}

    assert len(owners) == 100


def test_attempts_without_a_word_are_counted_as_lost() -> None:
    """What is missing to the attempt's number ended without a word."""
    attempt = Attempt(number=6, started_at=EPOCH, timeout=TIMEOUT, counts={"declined": 1, LOST: 1, "waiting": 1})

    assert attempt.counts == {"declined": 1, LOST: 3, "waiting": 1}


def test_first_attempt_has_lost_nothing() -> None:
    """A first attempt has no history, and hands its counts to nobody unless it is told how."""
    attempt = Attempt(number=1, started_at=EPOCH, timeout=TIMEOUT)

    attempt.remember({"timeout": 1})

    assert attempt.counts == {}


def test_direct_attempt_begins_now_unless_told() -> None:
    """A connector can be checked without a server."""
    given = Attempt.direct(timeout=TIMEOUT, number=2, started_at=EPOCH)

    assert (given.started_at, given.number) == (EPOCH, 2)
    assert Attempt.direct(timeout=TIMEOUT).started_at.tzinfo is UTC
    assert Attempt.direct(timeout=TIMEOUT).started_at <= datetime.now(UTC)


async def test_current_attempt_is_the_running_activitys() -> None:
    """Number, time and counts are the server's, and what it hands on goes into the heartbeat."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info,
        attempt=3,
        started_time=EPOCH,
        start_to_close_timeout=TIMEOUT,
        heartbeat_details=[{"timeout": 1}],
    )
    beats: list[object] = []
    environment.on_heartbeat = lambda *details: beats.extend(details)

    async def activity() -> Attempt:
        attempt = Attempt.current()
        attempt.remember({"timeout": 2})
        return attempt

    attempt = await environment.run(activity)

    assert (attempt.number, attempt.started_at, attempt.timeout) == (3, EPOCH, TIMEOUT)
    assert attempt.counts == {"timeout": 1, LOST: 1}
    assert beats == [{"timeout": 2}]


async def test_current_local_attempt_has_no_heartbeat() -> None:
    """A local activity cannot beat: its counts stay in the process."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, is_local=True, start_to_close_timeout=None)
    beats: list[object] = []
    environment.on_heartbeat = lambda *details: beats.extend(details)

    async def activity() -> Attempt:
        attempt = Attempt.current()
        attempt.remember({"timeout": 2})
        return attempt

    attempt = await environment.run(activity)
    environment.info = dataclasses.replace(environment.info, attempt=3)
    later = await environment.run(activity)
    environment.info = dataclasses.replace(environment.info, workflow_run_id="another", attempt=3)
    elsewhere = await environment.run(activity)

    assert (attempt.timeout, beats) == (timedelta(seconds=10), [])
    assert later.counts == {"timeout": 2}
    assert elsewhere.counts == {"waiting": 2}
