"""`kit lint`: rules of a service's sources, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.cli.main import run
from tests.cli.conftest import WriteService

TABLE = '[tool.kit]\nsources = ["service.py"]\n'
CODE = """from kit import SagaWorkflow
from datetime import datetime


class Selling(SagaWorkflow, owner="shop-team"):
    async def run(self, order):
        day = datetime.now()
"""


@pytest.fixture
def service(write_service: WriteService, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service whose workflow breaks one rule, and the current folder in it."""
    folder = write_service(TABLE, CODE)
    monkeypatch.chdir(folder)
    return folder


def test_a_finding_is_a_line_to_follow_and_a_fix(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finding is exit code 1: file, line, column, code, what is wrong, and what to write instead."""
    code = run(["lint"])

    assert code == 1
    assert capsys.readouterr().out.splitlines() == [
        "service.py:7:15: KIT003 datetime.datetime.now() answers otherwise when the workflow is replayed",
        "    fix: use workflow.now(), workflow.random() or workflow.uuid4()",
        "Found 1 breach in 1 file.",
    ]


def test_a_clean_file_passes(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found is exit code 0, and says how many files were read; paths may be named."""
    (service / "clean.py").write_text("x = 1\n")

    assert run(["lint", "clean.py"]) == 0
    assert capsys.readouterr().out == "Nothing found in 1 file.\n"


def test_the_document_says_the_same(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has every finding with its place and its fix."""
    code = run(["lint", "--json"])

    document = json.loads(capsys.readouterr().out)
    (finding,) = document["findings"]
    assert (code, document["files"]) == (1, 1)
    assert (finding["code"], finding["line"], finding["column"]) == ("KIT003", 7, 15)
    assert finding["path"].endswith("service.py")


def test_what_cannot_be_read_is_an_error(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there, or is no Python, is exit code 2."""
    (service / "odd.py").write_text("def (:\n")

    assert run(["lint", "nowhere"]) == 2
    assert run(["lint", "odd.py"]) == 2
    assert "it is no Python" in capsys.readouterr().err
