"""Every rule finds what breaks it, and nothing where the same is done well."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.errors import DefinitionError
from kit.testing.gates.lint import RULES, Finding, lint
from tests.docs.pages import ROOT, plain, rows
from tests.house._checkout import CHECKOUT
from tests.testing.gates.lint.snippets import CONNECTOR, CONTRACT, PAIRS, START, WORKFLOW

CASES = [(code, head, bad, good) for code, pairs in PAIRS.items() for head, bad, good in pairs]
NAMES = [f"{code}-{number}" for code, pairs in PAIRS.items() for number in range(1, len(pairs) + 1)]


def _lint(folder: Path, code: str) -> list[Finding]:
    (folder / "shop.py").write_text(CONTRACT, encoding="utf-8")
    (folder / "service.py").write_text(code, encoding="utf-8")
    return list(lint([folder / "service.py"], root=folder).findings)


@pytest.mark.parametrize(("code", "head", "bad", "good"), CASES, ids=NAMES)
def test_what_breaks_a_rule_is_found_once(tmp_path: Path, code: str, head: str, bad: str, good: str) -> None:
    """Bad code has exactly one finding, with the rule's code, on a line of its own."""
    findings = _lint(tmp_path, head + bad)

    assert [finding.code for finding in findings] == [code]
    assert all(finding.line > len(head.splitlines()) for finding in findings)


@pytest.mark.parametrize(("code", "head", "bad", "good"), CASES, ids=NAMES)
def test_what_is_done_well_is_left_alone(tmp_path: Path, code: str, head: str, bad: str, good: str) -> None:
    """Good code that does the same job has no finding of any rule."""
    assert _lint(tmp_path, head + good) == []


@pytest.mark.parametrize("head", [WORKFLOW + "        pass", CONNECTOR, CONTRACT, START + "    pass"])
def test_the_heads_of_the_snippets_are_clean(tmp_path: Path, head: str) -> None:
    """What is found in a snippet is the snippet's own."""
    assert _lint(tmp_path, head) == []


def test_every_rule_has_a_pair() -> None:
    """No rule is without code that breaks it and code that keeps it, and codes are unique and in order."""
    codes = [rule.code for rule in RULES]

    assert set(PAIRS) == set(codes)
    assert codes == sorted(set(codes))


@pytest.mark.slow
def test_the_repository_is_clean() -> None:
    """Nothing is found in the reference service: neither its connectors, nor its workflows, nor its app."""
    report = lint([CHECKOUT / name for name in ("activities", "workflows", "temporal")], root=CHECKOUT)

    assert [f"{finding.path}:{finding.line} {finding.code}" for finding in report.findings] == []
    assert report.files > 30


def test_a_finding_has_its_place_and_its_fix(tmp_path: Path) -> None:
    """A finding names file, line and column, says what is wrong there, and what to write instead."""
    (finding,) = _lint(tmp_path, WORKFLOW + "        day = datetime.now()")

    assert (finding.path, finding.line, finding.column) == (tmp_path / "service.py", len(WORKFLOW.splitlines()) + 1, 15)
    assert finding.message == "datetime.datetime.now() answers otherwise when the workflow is replayed"
    assert finding.fix == "use workflow.now(), workflow.random() or workflow.uuid4()"


def test_a_suppression_needs_a_reason(tmp_path: Path) -> None:
    """Without a reason nothing is suppressed, and the comment is found as well; with one both are gone."""
    line = "        day = datetime.now()  # kit: ignore[KIT003]"

    without, given = _lint(tmp_path, WORKFLOW + line), _lint(tmp_path, WORKFLOW + line + " the day is not used")

    assert [finding.code for finding in without] == ["KIT003", "KIT000"]
    assert given == []


def test_one_comment_suppresses_on_the_lines_of_its_statement(tmp_path: Path) -> None:
    """A comment counts on any line of what it excuses, for the rules that it names, and for no other line."""
    call = """
        await asyncio.gather(
            self.step(shop.sell, request),  # kit: ignore[KIT006] a test of strays
            self.step(shop.wrap, request),
        )
        await asyncio.gather(self.step(shop.sell, request))
"""
    (finding,) = _lint(tmp_path, WORKFLOW + call)

    assert (finding.code, finding.line) == ("KIT006", len(WORKFLOW.splitlines()) + 6)


def test_classes_are_known_through_the_files_they_come_from(tmp_path: Path) -> None:
    """A saga is a saga though its base lies in another file and under another name."""
    (tmp_path / "bases.py").write_text("from kit.workflow import SagaWorkflow as Base\nclass Ours(Base): ...\n")
    code = """
from bases import Ours
import shop as contract

class Selling(Ours, owner="shop-team"):
    async def run(self, order):
        await self.step(contract.mail, order)
"""
    assert [finding.code for finding in _lint(tmp_path, code)] == ["KIT005"]


def test_relative_imports_and_packages_are_followed(tmp_path: Path) -> None:
    """An operation is known though it was imported from the package, which has it from a module."""
    package = tmp_path / "store"
    package.mkdir()
    (package / "__init__.py").write_text("from .contract import mail\n")
    (package / "contract.py").write_text(CONTRACT)
    (package / "flow.py").write_text(
        "from kit import SagaWorkflow\nfrom . import mail as letter\n"
        "class Selling(SagaWorkflow, owner='t'):\n"
        "    async def run(self, order):\n        await self.step(letter, order)\n"
    )

    report = lint([package / "flow.py"], root=tmp_path)

    assert [finding.code for finding in report.findings] == ["KIT005"]


def test_a_class_that_derives_from_itself_is_no_riddle(tmp_path: Path) -> None:
    """Names that lead round in circles end somewhere."""
    assert _lint(tmp_path, "from service import Odd\nclass Odd(Odd): ...\nclass Even(Odd): ...\n") == []


def test_what_is_no_python_is_said(tmp_path: Path) -> None:
    """A file that does not parse is no clean file."""
    with pytest.raises(DefinitionError, match="it is no Python"):
        _lint(tmp_path, "def (:\n")


def test_a_missing_path_is_said(tmp_path: Path) -> None:
    """A misspelt path is not a clean one."""
    with pytest.raises(DefinitionError, match="there is no such file or folder"):
        lint([tmp_path / "nowhere"], root=tmp_path)


def test_the_reference_lists_every_rule() -> None:
    """The table of rules is that of the code, in its order."""
    listed = [[plain(cell) for cell in row] for row in rows(ROOT / "docs/reference/lint.md", "Rules")]

    assert listed == [[rule.code, rule.name, plain(rule.reason), plain(rule.fix)] for rule in RULES]
