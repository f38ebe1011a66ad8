"""The summary for a pull request, and the document for machines."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from kit.testing.report import Report, document, document_of_run, summary
from kit.testing.report.summary import LIMIT, code, escaped
from tests.testing.report.sample import HOSTILE, LOST, broken, report, verdict


def test_the_summary_begins_with_the_verdict() -> None:
    """The first line is what a reviewer must know."""
    assert summary([report()]).splitlines()[0] == "## ✗ Checkout: 1 counterexample for ≤ 2 faults"
    assert summary([report(safe=True)]).splitlines()[0] == "## ✓ Checkout: no violation for ≤ 2 faults"


def test_the_summary_has_command_story_graph_matrix_and_bound() -> None:
    """Everything of the page is there, the long parts folded."""
    text = summary([report()])

    assert f"`kit verify Checkout --only '{LOST}'`" in text
    assert "await self.pivot(" in text
    assert "```mermaid\nflowchart TD\n" in text
    assert "| reply_lost |  | **✗4** ↩1 + ↩3 |  | ?1 |" in text
    assert "| `payments.capture` | 2 | 5 |  | 4 |" in text
    assert "You can roll back until payments.capture" in text
    assert "- One ledger serves every worker." in text


def test_every_table_of_the_summary_is_one() -> None:
    """Each row has as many cells as its head: no text breaks out of its cell."""
    table: list[int] = []
    for line in summary([report()]).splitlines():
        if not line.startswith("|"):
            table = []
            continue
        table.append(len(re.findall(r"(?<!\\)\|", line)))
        assert len(set(table)) == 1, line


def test_hostile_texts_are_no_markup_in_the_summary() -> None:
    """Outside a block of code no angle bracket of theirs is left as it was."""
    text = re.sub(r"^ *(`{3,})text$.*?^ *\1$", "", summary([report()]), flags=re.DOTALL | re.MULTILINE)

    assert HOSTILE not in text
    assert escaped(HOSTILE) in text


def test_a_story_cannot_close_its_own_block() -> None:
    """A fence is longer than any in the story."""
    bad = broken()
    hostile = replace(bad, error="```\n</details><h1>")
    found = verdict()
    text = summary([Report(replace(found, violations=(replace(found.violations[0], run=hostile),)), report().subject)])

    assert "````text" in text


@pytest.mark.parametrize(("text", "written"), [("a|b", r"`a\|b`"), ("a`b", "``a`b``"), ("`a", "`` `a ``")])
def test_code_is_written_so_that_it_reads_as_it_is(text: str, written: str) -> None:
    """Bars and backticks do not end a cell or a span."""
    assert code(text) == written


def test_the_summary_fits_a_comment() -> None:
    """Long stories are left out before anything else is cut."""
    found = verdict()
    one = found.violations[0]
    long = replace(one, run=replace(one.run, story=one.run.story * 400))
    text = summary([Report(replace(found, violations=(long,) * 3), report().subject)])

    assert len(text) <= LIMIT
    assert "The story" not in text
    assert "<summary>What it does to the world</summary>" in text


def test_the_document_is_json_with_the_same_facts() -> None:
    """Machines read the verdict, the matrix and the commands."""
    read = json.loads(json.dumps(document(report())))

    assert read["safe"] is False
    assert read["counts"]["scenarios"] == 1204
    assert read["violations"][0]["reproduce"] == f"kit verify Checkout --only '{LOST}'"
    undo = next(cell for cell in read["matrix"] if cell["call"] == "payments.capture.undo")
    assert (undo["fault"], undo["alone"], undo["together"]) == ("refused", {}, {"parked": 5})
    assert read["asked"][0]["owner"] == "customer-care-team"
    assert read["rollback"][0]["answer"] == "yes"


def test_the_document_of_a_run_has_its_story() -> None:
    """Times are seconds, faults are ids."""
    read = json.loads(json.dumps(document_of_run(broken())))

    assert (read["ending"], read["safe"]) == ("compensated", False)
    assert [line["fault"] for line in read["story"]].count(str(LOST)) == 1
    assert read["story"][-1]["at"] == 12.25
