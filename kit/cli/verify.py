"""``kit verify``: every fault at every point of the service's workflows, and what came of it."""

from __future__ import annotations

import json as documents
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from kit.cli.choosing import check_operations, connectors_of, subject_named, subjects_named, untried
from kit.cli.discovery import find_subjects
from kit.cli.progress import Teller
from kit.errors import DefinitionError
from kit.testing.faults import Scenario
from kit.testing.report import Report, document, document_of_run, narrate, page, summary, words
from kit.testing.report.findings import sentences
from kit.testing.report.story import ending
from kit.testing.runs import Run
from kit.testing.sweep import run_scenario, sweep, write_test
from kit.testing.sweep.engines import SERVER
from kit.testing.world import Subject
from kit.workflow import SagaDefinition

verify = App(name="verify", help="Put workflows under every fault at every point, and check every invariant.")

Flag = Parameter(negative="")
COMMANDS = 10
"""How many commands are printed for each breach."""
CLEAN = Scenario()
DEFAULT_DEPTH = 1
"""Single faults: seconds, so that it is run while the workflow is being written. Pairs belong into CI."""


@verify.default
async def every_fault(
    workflow: str | None = None,
    *,
    depth: Annotated[int, Parameter(validator=Number(gte=0))] = DEFAULT_DEPTH,
    engine: Literal["simulation", "server"] = "simulation",
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    only: str | None = None,
    explain: str | None = None,
    report: Path | None = None,
    markdown: Path | None = None,
    to_test: Annotated[Path | None, Parameter(name="--write-test")] = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Run workflows under every fault at every point. Exit code 0: no violation; 1: an invariant does not hold.

    Args:
        workflow: The workflow's type; by default all of the service's subjects.
        depth: The most faults of one scenario: 1 for each alone, 2 for pairs, too.
        engine: The simulation, or a real server that skips time (slower; the same scenarios).
        seed: Decides every choice that the real world leaves open.
        workers: How many processes share the work.
        only: Run this one scenario, by the id that a sweep prints, such as 'payments.capture#1:reply_lost'.
        explain: The same, and tell its story: calls, faults, what each provider saw, what the saga decided.
        report: Write the report as an HTML page to this file.
        markdown: Write the summary for a pull request to this file.
        to_test: Write the smallest counterexample as a pytest file, or each one as a file of this folder.
        json: Print one JSON document instead of text.
    """
    # The guard logs every failed attempt, and here all of them are meant to fail: the story tells of them.
    logging.getLogger().addHandler(logging.NullHandler())
    subjects = subjects_named(find_subjects())
    if only is not None or explain is not None:
        _refuse_together(only=only, explain=explain, report=report, markdown=markdown, write_test=to_test)
        subject = _one(subjects, workflow)
        return await _scenario(
            subject, explain or only or "", engine=engine, seed=seed, json=json, story=explain is not None
        )
    _refuse_lost(report=report, markdown=markdown, write_test=to_test)
    wanted = subjects if workflow is None else {workflow: subject_named(subjects, workflow)}
    swept = _Sweep(depth=depth, engine=engine, seed=seed, workers=workers)
    reports = [await swept.of(name, subject) for name, subject in wanted.items()]
    safe = all(report.verdict.safe for report in reports)
    if json:
        print(documents.dumps({"safe": safe, "workflows": [document(found) for found in reports]}, indent=2))
    else:
        for found in reports:
            _tell(found)
    _write(report, page(reports) if report else "")
    _write(markdown, summary(reports) if markdown else "")
    _write_tests(reports, to_test)
    return 0 if safe else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sweep:
    """How each workflow is swept."""

    depth: int
    engine: str
    seed: int
    workers: int

    async def of(self, name: str, subject: Subject) -> Report:
        with Teller(name) as teller, _quiet(self.engine):
            verdict = await sweep(
                subject,
                depth=self.depth,
                engine=self.engine,
                seed=self.seed,
                workers=self.workers,
                progress=teller,
            )
        return Report(verdict, subject, await connectors_of(subject))


async def _scenario(subject: Subject, text: str, *, engine: str, seed: int, json: bool, story: bool) -> int:
    scenario = Scenario.parse(text)
    saga = getattr(subject.workflow, "__saga__", None)
    check_operations(scenario, saga.operations if isinstance(saga, SagaDefinition) else ())
    if seed and not scenario.seed:
        scenario = replace(scenario, seed=seed)
    with _quiet(engine):
        run = await run_scenario(subject, scenario, engine=engine, strict=False)
    _refuse_unreached(run)
    for fault, kinds in untried(run):
        print(f"note: a sweep does not try {fault}; at {fault.point} it tries {', '.join(kinds)}", file=sys.stderr)
    if json:
        print(documents.dumps(document_of_run(run), indent=2))
    elif story:
        print(narrate(run), end="")
    else:
        print(f"{run.workflow} under {run.scenario}: {ending(run)}")
        for sentence in sentences(run):
            print(f"{words.VIOLATED} {sentence}")
    return 0 if run.safe else 1


def _tell(report: Report) -> None:
    verdict = report.verdict
    print(f"{words.SAFE if verdict.safe else words.VIOLATED} {verdict}")
    for found in report.breaches:
        for sentence in found.sentences:
            print(f"  {words.VIOLATED} {words.short(sentence)}")
        for one in found.examples[:COMMANDS]:
            print(f"      {one.command}")
        if not found.first.scenario.faults:
            print(f"      nothing went wrong here: {words.command(verdict.workflow, CLEAN, explain=True)} tells why")
        more = len(found.examples) - COMMANDS
        if more > 0:
            print(f"      and {words.count(more, 'scenario')} more: --json and --report have them")


def _one(subjects: Mapping[str, Subject], workflow: str | None) -> Subject:
    if workflow is not None:
        return subject_named(subjects, workflow)
    if len(subjects) > 1:
        raise DefinitionError(
            "kit verify",
            rule=f"a scenario is one workflow's, and there are {', '.join(sorted(subjects))}",
            fix="name the workflow before the options",
        )
    return next(iter(subjects.values()))


def _refuse_together(**given: object) -> None:
    """One scenario has no report of its own, and is told in one way."""
    said = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise DefinitionError(
            "kit verify", rule=f"{' and '.join(said)} do not go together", fix=f"use {said[0]} alone, or leave it out"
        )


def _refuse_unreached(run: Run) -> None:
    """A scenario that was not what was asked for has nothing to tell."""
    if run.unreached:
        reached = dict.fromkeys(str(seen.point) for seen in run.seen)
        raise DefinitionError(
            f"scenario {str(run.scenario)!r}",
            rule=f"{', '.join(str(fault) for fault in run.unreached)} never struck: the run did not come to that call",
            fix=f"use a call that it comes to: {', '.join(reached)}",
        )


def _refuse_lost(**given: Path | None) -> None:
    """Before the sweep and not after it: where its results could not be written."""
    for name, path in given.items():
        if path is None:
            continue
        option = f"--{name.replace('_', '-')} {str(path)!r}"
        made = name == "write_test" and path.suffix != ".py"  # a folder for many tests is made
        if not made and not path.parent.is_dir():
            raise DefinitionError(
                option, rule=f"there is no folder {str(path.parent)!r}", fix="make it, or write elsewhere"
            )
        if path.is_dir() and name != "write_test":
            raise DefinitionError(option, rule="it is a folder", fix="name a file")


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.write_text(text, encoding="utf-8")
        print(f"written: {file}", file=sys.stderr)


def _write_tests(reports: Sequence[Report], path: Path | None) -> None:
    if path is None:
        return
    found = [(one, report.subject) for report in reports for one in report.verdict.violations]
    if path.suffix != ".py":
        path.mkdir(parents=True, exist_ok=True)
    for one, subject in found[:1] if path.suffix == ".py" else found:
        print(f"written: {write_test(one, path, subject=subject)}", file=sys.stderr)
    if not found:
        print(f"not written: {path}, for there is no counterexample", file=sys.stderr)


@contextmanager
def _quiet(engine: str) -> Iterator[None]:
    """Let what the server prints go to standard error: standard output is the verdict's, or a document's."""
    if engine != SERVER:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
