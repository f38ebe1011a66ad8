"""The `kit` command: what it runs, and how it exits."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from kit.cli.main import run
from tests.cli.conftest import WriteService

KIT = Path(sys.executable).parent / "kit"

TABLE = '[tool.kit]\napp = "service:app"\ndemo = "service:demo"\n'
CODE = """
import atexit, os

class App:
    async def work(self):
        print("worked")
        return 3

app = App()

async def demo(*, once, json):
    print("once" if once else "for ever", "json" if json else "table")
    return 0 if once else 1

async def aborts(*, once, json):
    atexit.register(os.abort)
    print("all is well")
    return 0
"""


def test_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    """`kit --version` says what is installed."""
    code = run(["--version"])

    assert code == 0
    assert capsys.readouterr().out.strip() == version("workflow-reliability-kit")


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`kit --help` names every command."""
    code = run(["--help"])

    told = capsys.readouterr().out
    assert code == 0
    assert all(f" {name} " in told for name in ("demo", "worker", "ledger"))


def test_ledger_commands_are_mounted(capsys: pytest.CaptureFixture[str]) -> None:
    """`kit ledger migrate --sql` prints the schema: the ledger's commands are part of `kit`."""
    code = run(["ledger", "migrate", "sqlite", "--sql"])

    assert code == 0
    assert "CREATE TABLE kit_effects" in capsys.readouterr().out


def test_worker_runs_the_app_and_returns_its_code(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`kit worker` is the app's own `work`, and its exit code is the command's."""
    monkeypatch.chdir(write_service(TABLE, CODE))

    code = run(["worker"])

    assert code == 3
    assert capsys.readouterr().out == "worked\n"


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [([], "for ever table", 1), (["--once"], "once table", 0), (["--once", "--json"], "once json", 0)],
)
def test_demo_is_given_its_options(
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
    code: int,
) -> None:
    """`kit demo` hands its options to the service's demo, and exits with what that returns."""
    monkeypatch.chdir(write_service(TABLE, CODE))

    assert run(["demo", *arguments]) == code
    assert capsys.readouterr().out.strip() == told


def test_outside_a_service_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of definition is one line on stderr and exit code 2, not a traceback."""
    monkeypatch.chdir(tmp_path)

    code = run(["worker"])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith("error: folder ")
    assert told.err.count("\n") == 1


def test_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are exit code 2."""
    assert run(["demo", "--onec"]) == 2
    assert "--onec" in "".join(capsys.readouterr())


@pytest.mark.slow
def test_exit_code_is_honest_though_the_teardown_aborts(write_service: WriteService) -> None:
    """A process whose teardown would abort still exits with the command's code, and loses no output."""
    folder = write_service('[tool.kit]\ndemo = "service:aborts"\n', CODE)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([KIT, "demo"], cwd=folder, env=environment, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "all is well\n")
