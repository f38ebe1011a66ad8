"""The gates against the version before, as CI runs them: where there is none, that is said and is no failure."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.house._checkout import CHECKOUT

WHO: Final = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
NONE: Final = "No version before this one in this clone"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script and nothing else."""
    (tmp_path / "scripts").mkdir()
    for name in ("_env", "gates"):
        shutil.copy(CHECKOUT / "scripts" / name, tmp_path / "scripts" / name)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    """Run git there."""
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    """Commit everything there."""
    git(folder, "add", ".")
    git(folder, *WHO, "commit", "-q", "--allow-empty", "-m", message)


def gates(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of the script, and what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "KIT_BASE"}
    done = subprocess.run(["scripts/gates", *arguments], cwd=folder, capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr


def test_a_folder_without_history_is_said(clone: Path) -> None:
    """An unpacked archive has no version before, which is no failure."""
    code, said = gates(clone)

    assert (code, NONE in said) == (0, True)


def test_a_first_commit_is_said(clone: Path) -> None:
    """The first commit has no version before, which is no failure."""
    git(clone, "init", "-q")
    commit(clone, "The first")

    code, said = gates(clone)

    assert (code, NONE in said) == (0, True)


def test_a_shallow_clone_is_said(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A clone without its history has no version before, and says how to get one."""
    git(clone, "init", "-q")
    commit(clone, "The first")
    commit(clone, "The second")
    shallow = tmp_path_factory.mktemp("shallow") / "clone"
    git(clone, "clone", "-q", "--depth", "1", f"file://{clone}", str(shallow))

    code, said = gates(shallow)

    assert (code, NONE in said, "KIT_BASE=" in said) == (0, True, True)


def test_a_version_without_a_service_is_said(clone: Path) -> None:
    """A commit from before there was a service is no version to go back to."""
    git(clone, "init", "-q")
    commit(clone, "Only scripts")
    commit(clone, "More")

    code, said = gates(clone)

    assert (code, "(Only scripts) has no service that the kit knows" in said) == (0, True)


def test_a_version_that_was_named_and_is_not_there_is_an_error(clone: Path) -> None:
    """What was asked for and cannot be done is no success."""
    git(clone, "init", "-q")
    commit(clone, "The first")

    code, said = gates(clone, "no-such-tag")

    assert (code, "no-such-tag" in said) == (1, True)
