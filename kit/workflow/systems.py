"""The systems that a reconciliation compares: asked at a rate, looked at, and repaired, each time through an operation.

The order within a look matters. A run that ends between the two questions has been called open, and is left to the next
reconciliation; asked the other way round, it would be called closed with what it had not yet done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit.contract import Invariant, Keys, Operation, Outcome, Page, Pair, Token
from kit.telemetry import CORRELATION_MEMO
from kit.workflow.comparing import pairs_of
from kit.workflow.findings import Finding, FindRuns, RepairMade, RunOfEffect, Standing
from kit.workflow.outcomes import read_failure
from kit.workflow.progress import Progress
from kit.workflow.schedule import start_action, start_find_runs
from kit.workflow.steps import Phase, Step

BUDGET: Final = timedelta(minutes=10)
"""How long one page, look or repair may take with all its attempts, holds and outages. Then the run says that it could
not check, or not repair, and goes on."""

BURST: Final = timedelta(seconds=5)
"""How much of the rate may be used at once: what a short run asks for is not held up."""


class Systems:
    """What a reconciliation asks of the systems it compares.

    Args:
        progress: Of the run; it counts the operations.
        calls_a_minute: How often the systems are asked for anything.
    """

    def __init__(self, progress: Progress, *, calls_a_minute: int) -> None:
        self._progress = progress
        self._calls_a_minute = calls_a_minute
        self._free_at = workflow.now()

    async def look_at(
        self, rules: Sequence[Invariant], keys: Sequence[str], first: dict[str, datetime]
    ) -> list[tuple[Finding, datetime]]:
        """What breaks a rule now, and from when on that counts."""
        runs = await self._runs([effect for rule in rules for key in keys for effect in rule.effect_keys(key)])
        left = await self.ask(rules[0].left.again, Keys(keys=tuple(keys)))
        right = await self.ask(rules[0].right.again, Keys(keys=tuple(keys)))
        now = workflow.now()
        found = []
        for pair in pairs_of(keys, left.records, right.records):
            for rule in rules:
                if (text := rule.check(pair)) is None:
                    continue
                had = tuple(run for effect in rule.effect_keys(pair.key) for run in runs.get(effect, ()))
                finding = Finding(
                    invariant=rule.name,
                    key=pair.key,
                    text=text,
                    pair=pair,
                    seen_at=now,
                    first_seen_at=first[pair.key],
                    runs=had,
                )
                if open_run := next((run for run in had if run.open), None):
                    finding.standing = Standing.IN_FLIGHT
                    finding.reason = f"run {open_run.workflow_id} is open"
                found.append((finding, _changed_at(pair, first[pair.key]) + rule.settle))
        return found

    async def _runs(self, keys: Sequence[str]) -> dict[str, list[RunOfEffect]]:
        """The runs that had the effects of some keys."""
        if not keys:
            return {}
        found: list[RunOfEffect] = await start_find_runs(FindRuns(keys=tuple(keys)), budget=BUDGET)
        runs: dict[str, list[RunOfEffect]] = {}
        for run in found:
            runs.setdefault(run.asked, []).append(run)
        return runs

    async def mend(self, operation: Operation[Any, Any], request: BaseModel) -> RepairMade:
        """Carry one repair out; that it failed is said, not raised."""
        key = operation.key_for(request, workflow_id=workflow.info().workflow_id)
        try:
            await self._carry_out(operation, request, key=key)
        except ActivityError as error:
            failure = read_failure(operation.name, error)
            return RepairMade(operation=operation.name, key=key, outcome=failure.outcome, reason=failure.reason)
        return RepairMade(operation=operation.name, key=key, outcome=Outcome.DONE)

    async def ask(self, operation: Operation[Any, Page], request: BaseModel) -> Page:
        """Ask a system."""
        page: Page = await self._carry_out(operation, request, key="")
        return page

    async def _carry_out(self, operation: Operation[Any, Any], request: BaseModel, *, key: str) -> Any:
        """Carry an operation out, not more often than at the rate that was asked for."""
        await self._wait_for_turn()
        self._progress.steps += 1
        info = workflow.info()
        step = Step(
            number=self._progress.steps,
            group=self._progress.steps,
            operation=operation.name,
            summary=operation.summary_for(request),
            phase=Phase.BODY,
            key=key,
            request=request,
            started_at=workflow.now(),
        )
        token = Token(
            key=key,
            correlation_id=correlation_id(),
            workflow_id=info.workflow_id,
            run_id=info.first_execution_run_id,
            step=step.number,
        )
        done = await start_action(operation, step, token, budget=BUDGET)
        return done.result

    async def _wait_for_turn(self) -> None:
        """Wait for a place in the rate: a virtual schedule (GCRA, ITU-T I.371) with room for a burst."""
        now = workflow.now()
        if self._free_at - BURST > now:
            await workflow.sleep(self._free_at - BURST - now)
        self._free_at = max(self._free_at, workflow.now()) + timedelta(minutes=1) / self._calls_a_minute


def _changed_at(pair: Pair, first_seen: datetime) -> datetime:
    """When a pair came to stand as it does; when it was seen first, where the systems keep no record of that."""
    return max((record.since for record in (*pair.left, *pair.right) if record.since), default=first_seen)


def correlation_id() -> str:
    """The correlation id of this run."""
    return str(workflow.memo_value(CORRELATION_MEMO, workflow.info().workflow_id, type_hint=str))
