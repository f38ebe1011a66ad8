"""Re-driving past events: a batch that is slow on purpose, in order per entity, and can be killed at any point.

The cluster is the checkpoint. Whoever feeds the batch hands over one numbered page after the other and is told only
when the batch has taken it; a feeder that dies is followed by one that asks which page comes next. A chunk of a page is
one activity; an attempt of it that dies is followed by one that goes on where the last heartbeat was.

What may go wrong between two lines, and what then:

- *the feeder dies after the batch took a page, before it heard so*: the page comes again and is known by its number.
- *the worker dies after it has started a run, before it said so*: the next attempt finds the run by its workflow id.
- *the run was forgotten by the server* (retention): the ledger has its effects, and nothing is started.
- *the event is older than the ledger's memory*: it is not started; a person decides.
- *one event of an entity parks*: the later ones of this entity wait for another batch, all others go on.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

from kit.workflow.batches import (
    PAGE_UPDATE,
    REDRIVE_PRIORITY,
    REPLAY_ACTIVITY,
    REPLAY_QUERY,
    REPLAY_WORKFLOW,
    BatchProgress,
    Chunk,
    Driven,
    PastEvent,
    Redriven,
    Remark,
    ReplayPage,
    ReplayReport,
    ReplayRequest,
)

WAITING_PAGES: Final = 1
"""Pages that a batch has in hand; the feeder of another is told when there is room. A next run carries at most one."""

TAKE_OVER: Final = timedelta(minutes=2)
"""How long a feeder must have been silent before another one may go on."""

REMARKS: Final = 1000
CONTINUE_AFTER: Final = 4000  # events of history; well below Temporal's limit, and cheap to replay
_FATES_TO_REMARK: Final = frozenset(set(Redriven) - {Redriven.COMPLETED, Redriven.DUPLICATE, Redriven.DELIVERED})


class ReplayWorkflow:
    """Base of every batch.

    `Replay` is the plain one, and comes with the plugin. A subclass may leave events out::

        @workflow.defn(name="replay-vip")
        class ReplayVip(ReplayWorkflow):
            @workflow.run
            async def run(self, request: ReplayRequest) -> ReplayReport:
                return await self.drive(request)

            def leaves_out(self, event: PastEvent) -> str | None:
                return None if event.entity.startswith("vip-") else "no such customer"

    Guarantees: at most ``rate`` events per second; events of one entity in order, each after the run of the one before
    has closed (an entity workflow is sent its events in order); an event whose first run is known starts nothing.
    Everything else rests on the ledger: an effect that it knows does not happen again. Not guaranteed: order between
    entities.
    """

    _standing: BatchProgress

    @workflow.init
    def __init__(self, request: ReplayRequest) -> None:
        self._standing = request.standing or BatchProgress(report=ReplayReport(name=request.name))

    def leaves_out(self, event: PastEvent) -> str | None:
        """Why an event is left out; ``None`` to re-drive it. Deterministic, as all workflow code."""
        return None

    async def drive(self, request: ReplayRequest) -> ReplayReport:
        """Re-drive page after page until the last one is done."""
        now = self._standing
        while True:
            await workflow.wait_condition(lambda: bool(now.waiting) or now.last)
            if not now.waiting:
                break
            await self._page(request, now.waiting[0])
            del now.waiting[0]
            if now.waiting or not now.last:
                await self._continue(request)
        now.report.finished = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return now.report

    async def _continue(self, request: ReplayRequest) -> None:
        """Go on in a new run before the history is long, once nobody waits for an answer."""
        info = workflow.info()
        if info.get_current_history_length() < CONTINUE_AFTER and not info.is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(request.model_copy(update={"standing": self._standing}))

    async def _page(self, request: ReplayRequest, page: ReplayPage) -> None:
        size = max(1, int(request.rate))  # what one second allows is one activity
        for at in range(0, len(page.events), size):
            await self._chunk(request, page.events[at : at + size])

    async def _chunk(self, request: ReplayRequest, events: list[PastEvent]) -> None:
        driven: dict[int, Driven] = {}
        for place, event in enumerate(events):
            if (why := self._left_out(request, event)) is not None:
                driven[place] = Driven(fate=Redriven.LEFT_OUT, why=why)
            elif event.entity in self._standing.report.blocked:
                driven[place] = Driven(fate=Redriven.BLOCKED, why="an earlier event of the same entity is parked")
        wanted = [place for place in range(len(events)) if place not in driven]
        if wanted:
            await self._until_due(request, len(wanted))
            chunk = Chunk(
                events=[events[place] for place in wanted],
                ledger_since=request.ledger_since,
                patience=request.patience,
            )
            driven |= dict(zip(wanted, await self._start(chunk), strict=True))
        for place, event in enumerate(events):
            self._note(event, driven[place])

    async def _start(self, chunk: Chunk) -> list[Driven]:
        found: list[Driven] = await workflow.execute_activity(
            REPLAY_ACTIVITY,
            chunk,
            result_type=list[Driven],
            start_to_close_timeout=timedelta(hours=12),  # each run is waited for; the heartbeat says that it is alive
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            priority=Priority(priority_key=REDRIVE_PRIORITY),
            summary=f"Re-drive {len(chunk.events)} events from {chunk.events[0].at.isoformat()}",
        )
        return found

    async def _until_due(self, request: ReplayRequest, number: int) -> None:
        """Wait until so many more events are within the rate."""
        due = self._standing.due
        if due is not None and due > workflow.now():
            await workflow.sleep(due - workflow.now())
        self._standing.due = workflow.now() + timedelta(seconds=number / request.rate)

    def _left_out(self, request: ReplayRequest, event: PastEvent) -> str | None:
        if request.since is not None and event.at < request.since:
            return f"before {request.since.isoformat()}"
        if request.until is not None and event.at >= request.until:
            return f"not before the cutoff {request.until.isoformat()}"
        return self.leaves_out(event)

    def _note(self, event: PastEvent, driven: Driven) -> None:
        report = self._standing.report
        report.counts = dict(Counter(report.counts) + Counter([driven.fate]))
        if driven.fate is Redriven.PARKED and event.entity not in report.blocked:
            report.blocked.append(event.entity)
        if driven.fate not in _FATES_TO_REMARK:
            return
        if len(report.remarks) < REMARKS:
            remark = Remark(workflow_id=event.workflow_id, entity=event.entity, fate=driven.fate, why=driven.why)
            report.remarks.append(remark)
        else:
            report.more += 1

    # -- the feeder ------------------------------------------------------------------------------------------------

    @workflow.update(name=PAGE_UPDATE, description="Hand the batch its next page of events.")
    async def kit_add_page(self, page: ReplayPage) -> int:
        """Take a page, once there is room. Returns the number of the page that comes next."""
        now = self._standing
        await workflow.wait_condition(lambda: len(now.waiting) < WAITING_PAGES or page.number < now.report.next_page)
        if page.number == now.report.next_page and not now.last:  # else it came twice while there was no room
            now.waiting.append(page)
            now.report.next_page += 1
            now.last = page.last
        now.feeder, now.heard = page.feeder, workflow.now()
        return now.report.next_page

    @kit_add_page.validator
    def _check_page(self, page: ReplayPage) -> None:
        now = self._standing
        silent = now.heard is None or workflow.now() - now.heard >= TAKE_OVER
        if now.feeder not in (None, page.feeder) and not silent:
            raise ValueError(
                f"{now.report.name!r} is being fed by {now.feeder}, heard of at {now.heard}: stop it, or wait "
                f"{TAKE_OVER} after its last page"
            )
        if page.number > now.report.next_page:
            raise ValueError(
                f"page {page.number} comes too early: {now.report.name!r} waits for {now.report.next_page}"
            )

    @workflow.query(name=REPLAY_QUERY, description="How the batch stands.")
    def kit_replay(self) -> ReplayReport:
        """How the batch stands."""
        return self._standing.report


@workflow.defn(name=REPLAY_WORKFLOW)
class Replay(ReplayWorkflow):
    """The plain batch: every event within the time span."""

    @workflow.init
    def __init__(self, request: ReplayRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ReplayRequest) -> ReplayReport:
        """Re-drive page after page until the last one is done."""
        return await self.drive(request)
