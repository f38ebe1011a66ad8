"""The report as a JSON document: the same facts, for machines. Its keys are not changed once they are released."""

from __future__ import annotations

from typing import Any

from kit.testing.report import words
from kit.testing.report.findings import Report
from kit.testing.runs import Run
from kit.testing.sweep.verdict import Counterexample


def document(report: Report) -> dict[str, Any]:
    """A verdict with what is known of its subject."""
    verdict, counts = report.verdict, report.verdict.counts
    return {
        "workflow": verdict.workflow,
        "safe": verdict.safe,
        "verdict": str(verdict),
        "depth": verdict.depth,
        "engine": verdict.engine,
        "seed": verdict.seed,
        "oracle": verdict.oracle,
        "code_hash": verdict.code_hash,
        "kinds": [kind.value for kind in verdict.kinds],
        "counts": {
            "scenarios": counts.scenarios,
            "runs": counts.runs,
            "stopped": counts.stopped,
            "reduced": {reason.name.lower(): number for reason, number in counts.reduced.items()},
            "histories": counts.histories,
            "replays": counts.replays,
            "reachable": counts.reachable,
            "faulted": counts.faulted,
            "endings": {ending.value: number for ending, number in counts.endings.items()},
            "violating": counts.violating,
            "checked": counts.checked,
            "engine": dict(counts.engine),
        },
        "assumptions": list(verdict.assumptions),
        "violations": [_counterexample(found) for found in verdict.violations],
        "matrix": [
            {
                "call": str(place),
                "fault": kind.value,
                "alone": {ending.value: number for ending, number in cell.alone.items()},
                "together": {ending.value: number for ending, number in cell.together.items()},
                "violated": cell.violated,
                "example": None if cell.example is None else str(cell.example),
            }
            for place in report.places
            for kind in report.kinds
            if (cell := report.cell(place, kind)) is not None
        ],
        "differences": [
            {
                "scenario": str(found.scenario),
                "ending": found.ending.value,
                "alone": [ending.value if ending else None for ending in found.alone],
                "violated": found.violated,
            }
            for found in verdict.differences
        ],
        "asked": [
            {
                "operation": found.task.operation,
                "undo": found.task.undo,
                "owner": found.task.owner,
                "question": found.task.question,
                "choices": [choice.value for choice in found.task.choices],
                "example": str(found.example),
            }
            for found in report.asked
        ],
        "unfaulted": [str(point) for point in verdict.unfaulted],
        "rollback": [
            {"topic": c.topic, "answer": c.answer.value, "text": c.text, "because": list(c.because)}
            for c in report.claims
        ],
    }


def document_of_run(run: Run) -> dict[str, Any]:
    """One run, with its story."""
    return {
        "workflow": run.workflow,
        "scenario": str(run.scenario),
        "safe": run.safe,
        "ending": run.ending.value,
        "repaired": run.repaired.value if run.repaired else None,
        "error": run.error,
        "result": run.result,
        "violations": _violations(run),
        "unreached": [str(fault) for fault in run.unreached],
        "truth": [
            {"system": e.system, "operation": e.operation, "key": e.key, "live": e.live, "text": e.text}
            for e in sorted(run.truth, key=lambda effect: effect.order)
        ],
        "ledger": [{"key": row.key, "state": row.state.value, "attempts": row.attempts} for row in run.rows],
        "story": [
            {
                "at": line.at.total_seconds(),
                "lane": line.lane,
                "text": line.text,
                "source": line.source,
                "fault": str(line.fault) if line.fault else None,
            }
            for line in run.story
        ],
        "fingerprint": run.fingerprint,
    }


def _counterexample(found: Counterexample) -> dict[str, Any]:
    return {
        "scenario": str(found.scenario),
        "found_as": str(found.found_as),
        "scenarios": found.scenarios,
        "ending": found.run.ending.value,
        "violations": _violations(found.run),
        "reproduce": found.command,
        "explain": words.command(found.run.workflow, found.scenario, explain=True),
    }


def _violations(run: Run) -> list[dict[str, str]]:
    return [{"invariant": found.invariant, "text": found.text, "when": found.when} for found in run.violations]
