"""The question about what a reconciliation could not decide: one for each invariant, however many findings it has."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

from kit.contract import Invariant, Model, Severity
from kit.workflow.findings import FINDINGS_QUERY, FINDINGS_WORKFLOW, Finding
from kit.workflow.progress import ReconciliationRequest
from kit.workflow.saga import SagaWorkflow
from kit.workflow.tasks import Choice, Decision

ADD_SIGNAL: Final = "kit_add_findings"
"""Name of the signal by which a later reconciliation tells what it has found."""

GONE_SIGNAL: Final = "kit_findings_gone"
"""Name of the signal by which a later reconciliation tells that the invariant holds again."""

SHOWN: Final = 3
"""How many findings the question itself spells out; the query has them all."""


class FindingsRequest(Model):
    """Findings of one invariant that a person must decide about.

    Attributes:
        invariant: Its name.
        severity: How bad it is.
        owner: Who is asked.
        runbook: Where they find what to do.
        findings: What was found, with the evidence.
        repairs: How many of them a rule could repair, and did not, because they are too many.
        reconciliation: Workflow type of the reconciliation that can.
        service: As in `ReconciliationRequest`.
    """

    invariant: str
    severity: Severity
    owner: str
    runbook: str | None = None
    findings: tuple[Finding, ...]
    repairs: int = 0
    reconciliation: str
    service: str = ""


class FindingsClosed(BaseModel):
    """How the question ended.

    Attributes:
        invariant: Whose findings they were.
        decision: What a person decided; ``None`` when a reconciliation found that the invariant holds again.
        repair: Workflow id of the reconciliation that makes the repairs a person has approved.
    """

    model_config = ConfigDict(extra="forbid")

    invariant: str
    decision: Decision | None = None
    repair: str | None = None


@workflow.defn(name=FINDINGS_WORKFLOW)
class FindingsWorkflow(SagaWorkflow, owner="the owner of the invariant"):
    """Asks the owner of an invariant about its findings, and waits, however long it takes.

    It is closed by an answer, or by the next reconciliation that finds nothing any more. What is found meanwhile is
    added, and the question is put again, so that nobody answers about what they have not seen. A finding that an answer
    leaves in place is found by the next reconciliation, and asked about again.

    ``approve`` (offered where too many repairs were to be made unasked): make them, by a reconciliation of its own.
    ``retry``: it has been seen to by hand. ``skip``: it stays as it is for now.
    """

    @workflow.init
    def __init__(self, request: FindingsRequest) -> None:
        self._request = request
        self._findings = {finding.key: finding for finding in request.findings}
        self._repairs = request.repairs
        self._gone = False
        self._asked_of: frozenset[str] = frozenset()

    @workflow.run
    async def run(self, request: FindingsRequest) -> FindingsClosed:
        """Ask until it is answered, or nothing is left to ask about."""
        decision = await self._decision()
        if decision is None or decision.choice is not Choice.APPROVE:
            return FindingsClosed(invariant=request.invariant, decision=decision)
        repair = await workflow.start_child_workflow(
            request.reconciliation,
            ReconciliationRequest(
                invariants=(request.invariant,),
                at_most=len(self._findings),
                who=decision.who,
                why=decision.why,
                service=request.service,
            ),
            id=f"{workflow.info().workflow_id}-{workflow.info().run_id}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
        return FindingsClosed(invariant=request.invariant, decision=decision, repair=repair.id)

    async def _decision(self) -> Decision | None:
        while not self._gone:
            self._asked_of = frozenset(self._findings)
            asking = asyncio.ensure_future(self._ask())
            await workflow.wait_condition(lambda: asking.done() or self._changed())  # noqa: B023 - waited for here
            if asking.done():
                return asking.result()
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled() and asking.exception() is None:
                return asking.result()  # it was answered in the same workflow task
        return None

    def _changed(self) -> bool:
        return self._gone or self._asked_of != frozenset(self._findings)

    async def _ask(self) -> Decision:
        request, number = self._request, len(self._findings)
        shown = "; ".join(finding.text for finding in list(self._findings.values())[:SHOWN])
        more = f"; and {number - SHOWN} more" if number > SHOWN else ""
        brake = f" {self._repairs} of them can be repaired, if you approve." if self._repairs else ""
        repair = (Choice.APPROVE,) if self._repairs else ()
        return await self.ask(
            f"“{request.invariant}” does not hold ({request.severity}, {number} findings): {shown}{more}.{brake} "
            f"The evidence: query {FINDINGS_QUERY}.",
            choices=(*repair, Choice.RETRY, Choice.SKIP),
            about=f"invariant: {request.invariant}",
            owner=request.owner,
            runbook=request.runbook,
        )

    @workflow.signal(name=ADD_SIGNAL, description="What a later reconciliation has found.")
    def kit_add_findings(self, request: FindingsRequest) -> None:
        """Take what a later reconciliation has found: it is the truth of now, also about what is gone."""
        self._findings = {finding.key: finding for finding in request.findings}
        self._repairs = request.repairs

    @workflow.signal(name=GONE_SIGNAL, description="The invariant holds again.")
    def kit_findings_gone(self) -> None:
        """Close the question: nothing is left to ask about."""
        self._gone = True

    @workflow.query(name=FINDINGS_QUERY, description="The findings that are asked about, with their evidence.")
    def kit_findings(self) -> list[Finding]:
        """The findings, with what each system said."""
        return list(self._findings.values())


def findings_id(service: str, invariant: str) -> str:
    """The workflow id of the question about one invariant of one service: there is at most one open."""
    return f"findings-{service}-{re.sub(r'[^a-z0-9]+', '-', invariant.lower()).strip('-')}"


async def put(rule: Invariant, findings: list[Finding], *, repairs: int, service: str) -> str:
    """Ask about findings: by a new question, or by the one that is open. Returns its workflow id."""
    reconciliation = workflow.info().workflow_type
    request = FindingsRequest(
        invariant=rule.name,
        severity=rule.severity,
        owner=rule.owner,
        runbook=rule.runbook,
        findings=tuple(findings),
        repairs=repairs,
        reconciliation=reconciliation,
        service=service,
    )
    workflow_id = findings_id(service or reconciliation, rule.name)
    while True:
        try:
            await workflow.start_child_workflow(
                FINDINGS_WORKFLOW,
                request,
                id=workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"“{rule.name}” does not hold",
            )
        except WorkflowAlreadyStartedError:
            if not await _signal(workflow_id, ADD_SIGNAL, request):
                continue  # it was closed in between
        return workflow_id


async def withdraw(rule: Invariant, *, service: str) -> None:
    """Close the question about an invariant that holds again, if there is one."""
    await _signal(findings_id(service or workflow.info().workflow_type, rule.name), GONE_SIGNAL)


async def _signal(workflow_id: str, name: str, *arguments: Any) -> bool:
    """Signal another run. Returns whether there was one that is open."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(name, args=arguments)
    except FailureError:
        return False
    return True
