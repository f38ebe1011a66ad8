"""Past events that are re-driven: in order, once, on after an interruption."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from kit.errors import DefinitionError
from kit.operate.replaying import Past, ReplayRefused, read_past, replay_batch
from kit.testing import start_time_skipping
from kit.workflow.batches import (
    PAGE_UPDATE,
    REPLAY_WORKFLOW,
    PastEvent,
    Redriven,
    ReplayPage,
    ReplayReport,
    ReplayRequest,
    replay_id,
)
from tests.harness import Running, running
from tests.workflow.entities import GoesOn
from tests.workflow.sagas import Plan, Travel
from tests.workflow.scene import new_id
from tests.workflow.world import World, declined

slow = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
MONDAY = datetime.now(UTC) - timedelta(days=7)


def trip(
    number: int, *, about: str = "", minute: int | None = None, lines: Sequence[str] = ("step flight",)
) -> PastEvent:
    """A trip that was asked for last Monday."""
    return PastEvent(
        workflow="Travel",
        workflow_id=f"trip-{about}{number}",
        entity=about or f"customer-{number}",
        at=MONDAY + timedelta(minutes=number if minute is None else minute),
        request={"id": f"{about}{number}", "lines": list(lines)},
    )


def past(tmp_path: Path, *events: PastEvent) -> Past:
    """Events as a file has them."""
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{event.model_dump_json()}\n" for event in events))
    return read_past(file)


def batch(**options: Any) -> ReplayRequest:
    """A batch of a name of its own, as fast as can be."""
    given = {
        "name": new_id(),
        "who": "ada",
        "why": "the queue was lost",
        "rate": 1000.0,
        "patience": timedelta(minutes=5),
    }
    return ReplayRequest.model_validate({**given, **options})


async def replayed(worker: Running, events: Past, request: ReplayRequest) -> ReplayReport:
    """Re-drive them, and replay the batch's own history."""
    report = await replay_batch(worker.client, events, request, task_queue=worker.task_queue, page=10)
    await worker.history(worker.client.get_workflow_handle(replay_id(request.name)))
    return report


def test_file_is_read_in_order_of_time_and_each_event_once(tmp_path: Path) -> None:
    """Lines that say the same are one event, and an event that stands too late comes at its time."""
    found = past(tmp_path, trip(1), trip(3), trip(2), trip(3))

    assert [event.workflow_id for event in found.events] == ["trip-1", "trip-2", "trip-3"]
    assert (found.duplicates, found.reordered) == (1, 1)
    assert found.digest == past(tmp_path, trip(3), trip(2), trip(1)).digest


def test_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    """What cannot be read is refused with its line, before anything is started."""
    file = tmp_path / "events.jsonl"
    file.write_text(f"{trip(1).model_dump_json()}\n{json.dumps({'workflow': 'Travel'})}\n")

    with pytest.raises(DefinitionError, match=r"line 2 of .*workflow_id: Field required"):
        read_past(file)


class TestOnTheServer:
    """Batches on a real server."""

    pytestmark = slow

    async def test_events_of_one_entity_keep_their_order(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """However the file is mixed, each run of an entity begins when the one before has closed."""
        world = World()
        events = past(tmp_path, *(trip(number, about="ada") for number in (3, 1, 2)), trip(9))

        async with running(server, world.plugin, [Travel]) as worker:
            report = await replayed(worker, events, batch())

        assert report.counts == {Redriven.COMPLETED: 4}
        assert [line for line in world.provider.story if "ada" in line] == [f"+flight:ada{n}" for n in (1, 2, 3)]

    async def test_event_that_is_known_starts_nothing(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """A second batch of the same events has no effect, and says that they were known."""
        world = World()
        events = past(tmp_path, trip(11), trip(12))

        async with running(server, world.plugin, [Travel]) as worker:
            await replayed(worker, events, batch())
            again = await replayed(worker, events, batch())

        assert again.counts == {Redriven.DUPLICATE: 2}
        assert world.provider.live == {"flight:11": 1, "flight:12": 1}

    async def test_parked_event_blocks_its_entity_only(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """What comes after an event that waits for a person is left for another batch; all other entities go on."""
        world = World()
        world.provider.always("car.book", declined())
        stuck = trip(21, about="bob", lines=("pivot card", "step car"))
        events = past(tmp_path, stuck, trip(22, about="bob"), trip(23, about="carol"))

        async with running(server, world.plugin, [Travel]) as worker:
            report = await replayed(worker, events, batch())

        assert report.counts == {Redriven.PARKED: 1, Redriven.BLOCKED: 1, Redriven.COMPLETED: 1}
        assert report.blocked == ["bob"]
        assert [remark.workflow_id for remark in report.remarks] == ["trip-bob21", "trip-bob22"]
        assert "flight:bob22" not in world.provider.live

    async def test_cutoff_leaves_to_live_traffic_what_is_its(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """An event at the cutoff or after it is not started."""
        world = World()
        events = past(tmp_path, trip(31), trip(32), trip(33))

        async with running(server, world.plugin, [Travel]) as worker:
            report = await replayed(worker, events, batch(until=trip(32).at))

        assert report.counts == {Redriven.COMPLETED: 1, Redriven.LEFT_OUT: 2}
        assert world.provider.live == {"flight:31": 1}

    async def test_event_older_than_every_memory_is_not_started(
        self, server: WorkflowEnvironment, tmp_path: Path
    ) -> None:
        """From before the ledger, an effect whose key the provider has forgotten is left to a person."""
        world = World()
        events = past(tmp_path, trip(41))

        async with running(server, world.plugin, [Travel]) as worker:
            report = await replayed(worker, events, batch(ledger_since=datetime.now(UTC)))

        assert report.counts == {Redriven.TOO_OLD: 1}
        assert "nobody could say whether" in report.remarks[0].why
        assert "flight.book" in report.remarks[0].why
        assert "hotel.book" not in report.remarks[0].why
        assert world.provider.live == {}

    async def test_what_the_ledger_has_in_part_is_not_done_again(
        self, server: WorkflowEnvironment, tmp_path: Path
    ) -> None:
        """A run's early effects are purged before its late ones: that the late ones are there says nothing of them."""
        world = World()
        events = past(tmp_path, trip(43, lines=("step flight", "step card")))

        async with running(server, world.plugin, [Travel]) as worker:
            run = await worker.start(Travel.run, Plan(id="43", lines=("step card",)))
            await run.result()
            world.ledger.ascribe(run.id, to="trip-43")  # the server has forgotten that one
            report = await replayed(worker, events, batch(ledger_since=datetime.now(UTC)))

        assert report.counts == {Redriven.TOO_OLD: 1}
        assert "flight.book" in report.remarks[0].why
        assert "card.charge" not in report.remarks[0].why
        assert world.provider.live == {"card:43": 1}

    async def test_one_event_of_an_entity_says_nothing_of_its_others(
        self, server: WorkflowEnvironment, tmp_path: Path
    ) -> None:
        """An entity's rows are there as long as it lives; an event from before the ledger is too old all the same."""
        world = World()
        guest = new_id()
        event = PastEvent(
            workflow="GoesOn",
            workflow_id=guest,
            entity=guest,
            at=MONDAY,
            request={"state": {}},
            event={"id": "new", "source": "desk", "data": {"note": "a", "do": "hotel, car"}},
        )
        old = event.model_copy(update={"event": {**event.event, "id": "old"}})

        async with running(server, world.plugin, [GoesOn]) as worker:
            first = await replayed(worker, past(tmp_path, event), batch())
            await world.provider.happens("+car:new")
            report = await replayed(worker, past(tmp_path, old), batch(ledger_since=datetime.now(UTC)))

        assert first.counts == {Redriven.DELIVERED: 1}
        assert report.counts == {Redriven.TOO_OLD: 1}
        assert world.provider.story == ["+hotel:new", "+car:new"]

    async def test_batch_goes_on_where_its_feeder_died(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """A feeder that is killed is followed by one that hands over the pages that are missing."""
        world = World()
        events = past(tmp_path, *(trip(number) for number in range(500, 530)))
        request = batch()

        async with running(server, world.plugin, [Travel]) as worker:
            first = asyncio.create_task(
                replay_batch(
                    worker.client,
                    events,
                    request,
                    task_queue=worker.task_queue,
                    page=10,
                    progress=lambda handed_over, total: first.cancel(),
                )
            )
            with pytest.raises(asyncio.CancelledError):
                await first
            report = await replayed(worker, events, request)

        assert report.counts == {Redriven.COMPLETED: 30}
        assert len(world.provider.live) == 30
        assert len(world.provider.story) == 30

    async def test_second_feeder_is_refused(self, server: WorkflowEnvironment) -> None:
        """Replaying what is being replayed is refused, as long as the first feeder is heard of."""
        world = World()
        request = batch()
        async with running(server, world.plugin, [Travel]) as worker:
            handle = await worker.start(REPLAY_WORKFLOW, request, id=replay_id(request.name))
            for page in (ReplayPage(number=1, feeder="a", events=[trip(800)]),) * 2:  # its reply was lost
                following = await handle.execute_update(PAGE_UPDATE, page, result_type=int)

            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update(PAGE_UPDATE, ReplayPage(number=2, feeder="b", events=[], last=True))
            await handle.execute_update(PAGE_UPDATE, ReplayPage(number=2, feeder="a", events=[trip(801)], last=True))
            report = ReplayReport.model_validate(await handle.result())

        assert following == 2
        assert "is being fed by a" in str(refused.value.cause)
        assert report.counts == {Redriven.COMPLETED: 2}

    async def test_batch_of_other_events_needs_another_name(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """One name stands for one set of events; asking again for what is done gives the same report."""
        world = World()
        request = batch()
        async with running(server, world.plugin, [Travel]) as worker:
            first = await replayed(worker, past(tmp_path, trip(850)), request)
            again = await replayed(worker, past(tmp_path, trip(850)), request)

            with pytest.raises(ReplayRefused, match=r"has been a batch .* of other events"):
                await replayed(worker, past(tmp_path, trip(851)), request)

        assert first == again

    async def test_rate_is_kept_in_virtual_time(self, server: WorkflowEnvironment, tmp_path: Path) -> None:
        """Ten events at two per second take at least four seconds of the batch's clock."""
        world = World()
        events = past(tmp_path, *(trip(number) for number in range(900, 910)))
        request = batch(rate=2.0)

        async with running(server, world.plugin, [Travel]) as worker:
            await replayed(worker, events, request)
            described = await worker.client.get_workflow_handle(replay_id(request.name)).describe()

        assert described.close_time is not None
        assert described.close_time - described.start_time >= timedelta(seconds=4)

    async def test_run_that_only_the_ledger_knows_is_not_started_again(
        self, server: WorkflowEnvironment, tmp_path: Path
    ) -> None:
        """A new run would be answered with the first one's effects, and take them back when it failed."""
        world = World()
        events = past(tmp_path, trip(971, lines=("step flight", "step car")))
        async with await start_time_skipping() as old, running(old, world.plugin, [Travel]) as worker:
            await replayed(worker, events, batch())
        world.provider.always("car.book", declined())
        async with running(server, world.new_plugin(), [Travel]) as worker:
            report = await replayed(worker, events, batch())

        assert report.counts == {Redriven.DUPLICATE: 1}
        assert world.provider.live == {"car:971": 1, "flight:971": 1}
