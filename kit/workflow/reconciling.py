"""One run of a reconciliation.

For each two systems that invariants are about:

1. *Read* both, page by page, and match records by id (`kit.workflow.comparing`). What breaks a rule is a suspect.
2. *Look* at each suspect again, by its id: first which runs had an effect on it, then what both systems say. While a
   run is open it is in flight. What has changed so lately that it may not show yet is looked at again once the systems
   have settled. What then breaks the rule is a finding.
3. *Repair* what the rule can decide, each under a key of the ledger, unless there are too many. Look again: what a
   repair did not mend is a finding still.
4. *Ask* about the rest: one question for each invariant, however many findings it has.

What a run has read, found and done is its `Progress`: durable as the workflow is, and taken along when it continues as
new. A worker that dies costs the page that was being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from kit.contract import Invariant, Listing, Outcome, Pair, Scan
from kit.telemetry import Event, count, names, workflow_log
from kit.workflow.comparing import Comparison, Side, suspects
from kit.workflow.findings import (
    Compared,
    Finding,
    ReconciliationReport,
    Standing,
    checked,
)
from kit.workflow.outcomes import read_failure
from kit.workflow.progress import Progress, ReconciliationRequest
from kit.workflow.questioning import put, withdraw
from kit.workflow.reporting import markdown
from kit.workflow.systems import Systems, correlation_id

UNKNOWN_INVARIANT: Final = "UnknownInvariant"
"""Type of the application error of a request for an invariant that there is not. Released strings never change."""

MOST_SUSPECTS: Final = 1000
"""How many ids of two systems are looked at again in one run. More are counted; that many are an incident."""

MOST_LOOKS: Final = 5
"""How often an id is looked at that keeps changing."""

BATCH: Final = 20
"""How many ids are asked for at once."""

PAGES_A_RUN: Final = 500
"""After so many pages it continues as new at the latest: about 3,500 events."""


class Reconciliation:
    """One run.

    Args:
        invariants: All that the workflow has.
        request: What is asked for.
    """

    def __init__(self, invariants: Sequence[Invariant], request: ReconciliationRequest) -> None:
        known = {each.name: each for each in invariants}
        if missing := [name for name in request.invariants if name not in known]:
            raise ApplicationError(
                f"there is no invariant {missing[0]!r}; there are: {', '.join(map(repr, known))}",
                type=UNKNOWN_INVARIANT,
                non_retryable=True,
            )
        self.invariants = tuple(known[name] for name in request.invariants or known)
        self.request = request
        self.progress = request.progress or Progress(report=_begun(self.invariants, request))
        self._log = workflow_log()
        self._pages = 0
        self._systems = Systems(self.progress, calls_a_minute=request.calls_a_minute)

    @property
    def _facts(self) -> dict[str, Any]:
        return {"correlation_id": correlation_id()}

    async def report_all(self) -> ReconciliationReport:
        """Compare every two systems, and report."""
        progress, groups = self.progress, list(_groups(self.invariants))
        while progress.pair < len(groups):
            await self._reconcile(groups[progress.pair])
            progress.pair += 1
            progress.comparison, progress.suspects = Comparison(), {}
            self._show()
        for rule in self.invariants:
            await self._conclude(rule)
        progress.report.ended_at = workflow.now()
        self._tell()
        return progress.report

    async def _reconcile(self, rules: Sequence[Invariant]) -> None:
        """Two systems, and all the rules about them."""
        try:
            await self._read(rules)
            found = await self._look(rules, self.progress.suspects)
        except ActivityError as error:
            failure = read_failure("", error)
            self._unchecked(rules, f"{failure.operation or 'a look-up'}: {failure.kind} ({failure.reason})")
            return
        except ValueError as error:
            self._unchecked(rules, str(error))
            return
        for rule in rules:
            mine = [finding for finding in found if finding.invariant == rule.name]
            if self.request.repair:
                mine = await self._repair(rule, mine)
            self.progress.report.findings.extend(mine)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self, rules: Sequence[Invariant]) -> None:
        """Read two systems to their end."""
        progress, comparison = self.progress, self.progress.comparison
        listings = {Side.LEFT: rules[0].left, Side.RIGHT: rules[0].right}
        while (side := comparison.next) is not None:
            self._continue_as_new()
            scan = Scan(after=comparison.cursor(side).after, limit=self.request.page_size)
            page = await self._systems.ask(listings[side].pages, scan)
            self._suspect(suspects(rules, comparison.take(side, page)))
            self._pages += 1
        self._suspect(suspects(rules, comparison.rest()))
        progress.report.compared.append(
            Compared(
                left=rules[0].left.name,
                right=rules[0].right.name,
                left_pages=comparison.left.pages,
                left_records=comparison.left.records,
                right_pages=comparison.right.pages,
                right_records=comparison.right.records,
                suspects=len(progress.suspects),
            )
        )

    def _suspect(self, keys: Iterable[str]) -> None:
        known = self.progress.suspects
        for key in keys:
            if key in known:
                continue
            if len(known) < MOST_SUSPECTS:
                known[key] = workflow.now()
            else:
                self.progress.report.dropped += 1

    def _continue_as_new(self) -> None:
        """Go on with a fresh history, where this one grows long."""
        if self._pages and (self._pages >= PAGES_A_RUN or workflow.info().is_continue_as_new_suggested()):
            workflow.continue_as_new(self.request.model_copy(update={"progress": self.progress}))

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _look(self, rules: Sequence[Invariant], keys: dict[str, datetime]) -> list[Finding]:
        """Ask both systems about some ids until what they say has settled."""
        found: dict[tuple[str, str], Finding] = {}
        waiting = dict(keys)
        for last in (False,) * (MOST_LOOKS - 1) + (True,):
            due: dict[str, datetime] = {}
            for batch in _batches(list(waiting), BATCH):
                for key in batch:
                    for rule in rules:
                        found.pop((rule.name, key), None)
                for finding, settled_at in await self._systems.look_at(rules, batch, keys):
                    found[finding.invariant, finding.key] = finding
                    if finding.standing is Standing.FOUND and settled_at > finding.seen_at:
                        due[finding.key] = max(settled_at, due.get(finding.key, settled_at))
                        if last:
                            finding.standing, finding.reason = Standing.IN_FLIGHT, "it changes faster than it settles"
            if not due or last:
                break
            waiting = {key: keys[key] for key in due}
            await workflow.sleep(max(max(due.values()) - workflow.now(), timedelta(0)))
        return list(found.values())

    # -- repairing -------------------------------------------------------------------------------------------------

    async def _repair(self, rule: Invariant, found: list[Finding]) -> list[Finding]:
        """Repair what the rule decides, and look whether it helped. The findings that are left have a reason."""
        wrong = [finding for finding in found if finding.standing is Standing.FOUND]
        decided = [(finding, request) for finding in wrong if (request := _repair_of(rule, finding.pair)) is not None]
        most = self._most(rule)
        for finding in wrong:
            finding.reason = "no rule decides what to do about it"
        if len(decided) > most:
            for finding, _ in decided:
                finding.reason = f"{len(decided)} repairs of this kind at once, and at most {most} are made unasked"
            return found
        tried: dict[str, Finding] = {}
        for finding, request in decided:
            if rule.repair is not None:
                finding.repair = await self._systems.mend(rule.repair.operation, request)
                finding.reason = f"its repair left it {finding.repair.outcome} ({finding.repair.reason})"
                if finding.repair.outcome is Outcome.DONE:
                    tried[finding.key] = finding
        if not tried:
            return found
        await workflow.sleep(rule.settle)
        try:
            still = {finding.key: finding for finding in await self._look_again(rule, tried)}
        except ActivityError as error:
            why = read_failure("", error)
            for finding in tried.values():
                finding.reason = f"it was repaired, and could not be looked at again: {why.kind} ({why.reason})"
            return found
        for key, finding in tried.items():
            if key in still:
                finding.text, finding.pair, finding.seen_at = still[key].text, still[key].pair, still[key].seen_at
                finding.reason = "it was repaired, and does not hold all the same"
            else:
                finding.standing, finding.reason = Standing.REPAIRED, None
        return found

    async def _look_again(self, rule: Invariant, tried: dict[str, Finding]) -> list[Finding]:
        """Which of the repaired ids still break their rule."""
        found = []
        for batch in _batches(list(tried), BATCH):
            first = {key: tried[key].first_seen_at for key in batch}
            found += [finding for finding, _ in await self._systems.look_at((rule,), batch, first)]
        return found

    def _most(self, rule: Invariant) -> int:
        if self.request.at_most is not None:
            return self.request.at_most
        return 0 if rule.repair is None else rule.repair.at_most

    async def _ask_person(self, rule: Invariant, found: Sequence[Finding]) -> None:
        """Ask about all that still stands, in one question; close the question of an invariant that holds again."""
        standing = [finding for finding in found if finding.standing is Standing.FOUND]
        if not standing:
            if all(finding.standing is Standing.REPAIRED for finding in found):
                await withdraw(rule, service=self.request.service)
            return
        untried = sum(finding.repair is None and _repair_of(rule, finding.pair) is not None for finding in standing)
        for finding in standing:
            finding.standing = Standing.ASKED
        task = await put(rule, standing, repairs=untried, service=self.request.service)
        for finding in standing:
            finding.task = task

    # -- telling ---------------------------------------------------------------------------------------------------

    def _unchecked(self, rules: Sequence[Invariant], why: str) -> None:
        asked = {rule.name for rule in rules}
        for each in self.progress.report.invariants:
            if each.invariant in asked:
                each.unchecked = why

    async def _conclude(self, rule: Invariant) -> None:
        """Ask about what is left of an invariant's findings, and count them all."""
        report = self.progress.report
        entry = next(each for each in report.invariants if each.invariant == rule.name)
        found = [finding for finding in report.findings if finding.invariant == rule.name]
        if self.request.repair and entry.unchecked is None:
            await self._ask_person(rule, found)
        for finding in found:
            entry.findings[finding.standing] = entry.findings.get(finding.standing, 0) + 1
            count(
                workflow.metric_meter(),
                names.FINDINGS,
                invariant=rule.name,
                severity=rule.severity.value,
                standing=finding.standing.value,
            )
            self._log.warning(
                Event.FINDING,
                **self._facts,
                invariant=rule.name,
                key=finding.key,
                text=finding.text,
                standing=finding.standing.value,
                reason=finding.reason,
            )

    def _tell(self) -> None:
        """Say how it ended."""
        report = self.progress.report
        for each in report.invariants:
            result = "unchecked" if each.unchecked else "holds" if each.holds else "violated"
            count(
                workflow.metric_meter(),
                names.INVARIANTS_CHECKED,
                invariant=each.invariant,
                severity=each.severity.value,
                result=result,
            )
        self._log.info(
            Event.RECONCILED,
            **self._facts,
            holds=report.holds,
            findings=len(report.findings),
            repaired=sum(finding.standing is Standing.REPAIRED for finding in report.findings),
            unchecked=[each.invariant for each in report.invariants if each.unchecked],
        )
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(markdown(self.progress.report))


def _begun(invariants: Iterable[Invariant], request: ReconciliationRequest) -> ReconciliationReport:
    return ReconciliationReport(
        workflow_id=workflow.info().workflow_id,
        who=request.who,
        why=request.why,
        repairing=request.repair,
        started_at=workflow.now(),
        invariants=[checked(each) for each in invariants],
    )


def _groups(invariants: Sequence[Invariant]) -> Iterator[tuple[Invariant, ...]]:
    """The invariants about the same two systems, together: these are read once for all of them."""
    seen: list[tuple[Listing, Listing]] = []
    for each in invariants:
        if (each.left, each.right) not in seen:
            seen.append((each.left, each.right))
            yield tuple(rule for rule in invariants if (rule.left, rule.right) == (each.left, each.right))


def _batches(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _repair_of(rule: Invariant, pair: Pair) -> BaseModel | None:
    return None if rule.repair is None else rule.repair.request(pair)
