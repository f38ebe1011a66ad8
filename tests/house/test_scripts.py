"""The scripts can be started, and say what is wrong when they cannot do their job."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house._checkout import CHECKOUT

SCRIPTS = sorted(path for path in (CHECKOUT / "scripts").iterdir() if path.is_file())
COMMANDS = [*(path for path in SCRIPTS if not path.name.startswith("_")), CHECKOUT / ".ci/run"]
# What the scripts need besides bash and Python.
TOOLS = ["bash", "cat", "dirname", "env", "grep", "mktemp", "rm"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with scripts only, and a `tools` folder to be the PATH: no Python, no uv."""
    shutil.copytree(CHECKOUT / "scripts", tmp_path / "scripts")
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"this machine has no {tool}"
        (tmp_path / "tools" / tool).symlink_to(found)
    return tmp_path


def fake_python(path: Path, *, new_enough: bool, has_venv: bool) -> None:
    """Put a program in place that answers the scripts' questions as such a Python would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = {"sys.version_info": new_enough, "import ensurepip": has_venv}
    lines = [f'case "$*" in *"{question}"*) exit {0 if yes else 1};; esac' for question, yes in answers.items()]
    path.write_text("\n".join(["#!/usr/bin/env bash", *lines, "echo Python 3.8.1"]))
    path.chmod(0o755)


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the tree from another folder, with the tree's tools only."""
    return subprocess.run(
        [str(tree / command[0]), *command[1:]],
        cwd=tree.parent,
        env={"PATH": str(tree / "tools"), "HOME": str(tree)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_script_can_be_started(script: Path) -> None:
    """Each script is executable, names its interpreter, and its second line says what it does."""
    first, second = script.read_text(encoding="utf-8").splitlines()[:2]

    assert os.access(script, os.X_OK)
    assert first == "#!/usr/bin/env bash"
    assert second.startswith("# ")


@pytest.mark.parametrize("script", [*SCRIPTS, CHECKOUT / ".ci/run"], ids=lambda path: path.name)
def test_script_is_valid_bash(script: Path) -> None:
    """Bash can parse each script."""
    result = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr


def test_setup_without_a_python_says_so(tree: Path) -> None:
    """Without Python 3.11 set-up stops, tells how to name one, and leaves nothing behind."""
    fake_python(tree / "tools/python3", new_enough=False, has_venv=True)

    result = run(tree, "scripts/setup")

    assert result.returncode == 1
    assert "error: no Python 3.11 or newer found" in result.stderr
    assert "KIT_PYTHON=" in result.stderr
    assert not (tree / ".venv").exists()


def test_setup_with_a_python_that_makes_no_environments_says_so(tree: Path) -> None:
    """A Python without ensurepip, and no uv, is an error that names the package to install."""
    fake_python(tree / "tools/python3.12", new_enough=True, has_venv=False)

    result = run(tree, "scripts/setup")

    assert result.returncode == 1
    assert "apt install python3.12-venv" in result.stderr


def test_setup_leaves_an_environment_that_is_too_old_alone(tree: Path) -> None:
    """An existing `.venv` with an old Python is refused by version and not touched."""
    fake_python(tree / ".venv/bin/python", new_enough=False, has_venv=True)

    result = run(tree, "scripts/setup")

    assert result.returncode == 1
    assert ".venv holds Python 3.8.1, the kit needs 3.11 or newer" in result.stderr
    assert (tree / ".venv/bin/python").exists()


def test_check_refuses_an_unknown_argument(tree: Path) -> None:
    """`scripts/check` does not run something else than it was asked for."""
    result = run(tree, "scripts/check", "--fats")

    assert result.returncode == 1
    assert "unknown argument: --fats" in result.stderr
