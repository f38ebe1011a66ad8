"""`kit verify`: what it finds, what it writes, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import run
from kit.cli.progress import Teller
from tests.cli.conftest import WriteService

TABLE = (
    '[tool.kit]\nworkflows = "service:WORKFLOWS"\nconnectors = "service:CONNECTORS"\nsubjects = "service:SUBJECTS"\n'
)
DESK = Path(__file__).with_name("desk.py").read_text(encoding="utf-8")
RELEASES = '        await self.desk.take_back(f"hold:{undo.request.id}")\n'
FORGETS = "        return None\n"
"""A clean-up that nobody understood was deleted."""


@pytest.fixture
def sound(write_service: WriteService, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service as it is, and the current folder in it."""
    folder = write_service(TABLE, DESK)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def broken(write_service: WriteService, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same service, with an undo that does nothing."""
    assert DESK.count(RELEASES) == 1
    folder = write_service(TABLE, DESK.replace(RELEASES, FORGETS))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_a_sound_service_is_verified_with_its_bound(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, one line on stdout that says what was looked at, and progress on stderr."""
    code = run(["verify"])

    told = capsys.readouterr()
    assert code == 0
    assert told.out.startswith("✓ Buying: no violation for ≤ 1 fault, ")
    assert told.out.count("\n") == 1
    assert told.err.startswith("Buys: begins\n")


@pytest.mark.slow
def test_a_broken_service_is_found_out_with_a_line_that_shows_it(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and each counterexample comes with its command."""
    code = run(["verify", "Buys"])

    told = capsys.readouterr().out
    assert code == 1
    assert told.startswith("✗ Buying: ")
    assert "the run ended cancelled, but desk.hold stands (key 'hold:7')" in told
    assert "kit verify Buying --only 'desk.pay#1:refused'" in told
    assert told.count("the run ended cancelled, but desk.hold stands") == 1


def test_a_service_with_a_bug_is_shown_the_line_that_raised(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No log is needed: the verdict names the story of the clean run, and the story the line of the connector."""
    wrong = 'return Answer(number=await self.desk.do("desk.pay", token.key))'
    assert DESK.count(wrong) == 1
    monkeypatch.chdir(write_service(TABLE, DESK.replace(wrong, "return Answer(number=request.nummer)")))

    found = run(["verify", "--depth", "0"])
    verdict = capsys.readouterr().out
    run(["verify", "--explain", "clean"])
    story = " ".join(capsys.readouterr().out.split())

    assert found == 1
    assert "nothing went wrong here: kit verify Buying --explain 'clean' tells why" in verdict
    assert "desk.pay, attempt 1, fails: AttributeError: 'Ask' object has no attribute 'nummer'" in story
    assert "At service.py:" in story
    assert ": return Answer(number=request.nummer)" in story


@pytest.mark.slow
def test_report_summary_document_and_tests_are_written(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sweep feeds the page, the summary, the JSON document and a test for each counterexample."""
    arguments = ["--report", "page.html", "--markdown", "summary.md", "--write-test", "tests", "--json"]

    code = run(["verify", "Buys", *arguments])

    document = json.loads(capsys.readouterr().out)
    found = document["workflows"][0]["violations"]
    assert (code, document["safe"]) == (1, False)
    assert (broken / "page.html").read_text().count('class="story"') == min(len(found), 12)
    assert (broken / "summary.md").read_text().startswith("## ✗ Buying: ")
    assert len(list((broken / "tests").glob("test_*.py"))) == len(found) > 1


@pytest.mark.slow
def test_one_scenario_is_run_and_told_in_a_line(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--only` runs what a sweep printed, and exits with what came of it."""
    bad = run(["verify", "Buying", "--only", "desk.pay#1:refused"])
    told = capsys.readouterr().out
    good = run(["verify", "--only", "clean"])

    assert (bad, good) == (1, 0)
    first, second, *_ = told.splitlines()
    assert first == "Buying under desk.pay#1:refused: compensated: it failed and undid what it did"
    assert second.startswith("✗ ")
    assert "desk.hold stands (key 'hold:7')" in second


def test_a_scenario_is_explained_from_its_start_to_its_end(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--explain` tells calls, fault, records and decisions."""
    code = run(["verify", "--explain", "desk.pay#1:refused"])

    told = capsys.readouterr().out
    assert code == 0
    assert "✗" in told.split("What happened")[1]
    assert "desk  gone  desk.hold is number 1 (key hold:7)" in told
    assert "2. desk.pay [pivot]: refused (declined), 1 attempt" in told


def test_a_fault_beyond_the_assumptions_strikes_with_a_note(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a sweep leaves out because of an assumption can be tried; it is said that this is no counterexample."""
    run(["verify", "--only", "desk.pay#1:twice"])

    told = capsys.readouterr()
    assert told.out.startswith("Buying under desk.pay#1:twice: ")
    assert told.err.startswith("note: a sweep does not try desk.pay#1:twice; at desk.pay#1 it tries refused, ")
    assert told.err.count("\n") == 1


def test_a_story_is_told_without_a_log(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The guard logs every failed attempt; here they are meant to fail, and the story tells of them."""
    run(["verify", "--explain", "desk.pay#1:reply_lost"])

    assert capsys.readouterr().err == ""


def test_a_scenario_is_told_to_machines(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` the story is a document."""
    code = run(["verify", "--only", "desk.hold#1:crash_after", "--json"])

    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (code, document["ending"], document["safe"]) == (0, "completed", True)
    assert any(line["fault"] == "desk.hold#1:crash_after" for line in document["story"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Buyz"], "write 'Buys', if that is what you mean"),
        (["--only", "desk.pya#1:refused"], "write 'desk.pay', if that is what you mean"),
        (["--only", "desk.pay:refused"], "write for example 'payments.capture#1:reply_lost'"),
        (["--only", "desk.pay#9:refused"], "desk.pay#9:refused never struck"),
        (["--only", "desk.pay#9:refused"], "use a call that it comes to: desk.hold#1, desk.pay#1"),
        (["--report", "missing/page.html"], "there is no folder 'missing'"),
        (["--markdown", "."], "it is a folder"),
        (["--write-test", "missing/test_it.py"], "there is no folder 'missing'"),
        (["--only", "clean", "--explain", "clean"], "--only and --explain do not go together"),
        (["--only", "clean", "--report", "page.html"], "--only and --report do not go together"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(
    sound: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Exit code 2, nothing on stdout, and the fix in one line."""
    code = run(["verify", *arguments])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert said in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("option", [["--depth", "-1"], ["--workers", "0"], ["--engine", "wishes"]])
def test_impossible_options_are_refused(sound: Path, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    """They are wrong arguments: exit code 2."""
    assert run(["verify", *option]) == 2
    assert option[0] in "".join(capsys.readouterr())


def test_a_service_without_subjects_is_told_how_to_name_them(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line to add is in the message."""
    monkeypatch.chdir(write_service('[tool.kit]\nworkflows = "service:WORKFLOWS"\n', DESK))

    assert run(["verify"]) == 2
    assert 'add a line such as subjects = "package.module:attribute"' in capsys.readouterr().err


def test_subjects_that_are_none_are_refused(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A workflow class is no subject: it has no world."""
    monkeypatch.chdir(write_service('[tool.kit]\nsubjects = "service:WORKFLOWS"\n', DESK))

    assert run(["verify"]) == 2
    assert "not a tuple of subjects" in capsys.readouterr().err


def test_two_subjects_of_one_workflow_are_refused(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scenario id would be ambiguous."""
    monkeypatch.chdir(write_service(TABLE, DESK + "SUBJECTS = SUBJECTS * 2\n"))

    assert run(["verify"]) == 2
    assert "there are two of this workflow" in capsys.readouterr().err


def test_progress_is_told_now_and_then_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads a log wants lines, and few of them."""
    with Teller("Buys"):
        pass

    assert capsys.readouterr().err == "Buys: begins\n"
