"""Workflows that only the tests of the engines need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

from kit import Token
from tests.workflow.sagas import Plan
from tests.workflow.world import Ask


@workflow.defn(name="Travel")
class OtherTravel:
    """A previous version that did something else altogether: it cannot go on where `Travel` has begun."""

    @workflow.run
    async def run(self, plan: Plan) -> str:
        """Wait, where `Travel` takes a step."""
        await workflow.sleep(timedelta(days=1))
        return plan.id


@workflow.defn
class ByHand:
    """No saga: two activities one after the other, and nothing is undone."""

    @workflow.run
    async def run(self, plan: Plan) -> str:
        """Book a car, then charge the card."""
        for name in ("car.book", "card.charge"):
            info = workflow.info()
            token = Token(
                key=f"{name.partition('.')[0]}:{plan.id}",
                correlation_id=info.workflow_id,
                workflow_id=info.workflow_id,
                run_id=info.first_execution_run_id,
                step=1,
            )
            await workflow.execute_activity(
                name,
                args=[Ask(id=plan.id), token],
                start_to_close_timeout=timedelta(seconds=5),
                result_type=dict[str, Any],
            )
        return "done"
