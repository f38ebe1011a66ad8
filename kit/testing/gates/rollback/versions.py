"""Two versions of a service, side by side: the folder one works in, and one that git has."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kit.errors import DefinitionError
from kit.testing.gates import watching

CONSTRAINTS: Final = "constraints.txt"
"""The file whose pins tell with which packages a version was made."""

OTHER: Final = "KIT_ROLLBACK_OTHER"
"""The variable that tells the visitor where the other version is; `kit.testing.gates.watching.__main__` reads it."""

VISITOR: Final = "kit_rollback_visitor"
"""The name under which the code that asks a version is put beside it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a service.

    Attributes:
        name: What reports call it: ``"new"`` or ``"old"``.
        folder: Its code.
        python: The interpreter it runs with.
        visitors: A folder with the code that asks it, for the import path.
        notes: What makes it differ from the version that was really deployed.
        other: The folder of the other version, which may be installed where this one runs; ``None`` for this version's.
    """

    name: str
    folder: Path
    python: Path
    visitors: Path
    notes: tuple[str, ...] = field(default=())
    other: Path | None = None

    @property
    def app(self) -> str:
        """Where its app is, as ``module:attribute``.

        Raises:
            DefinitionError: It does not say.
        """
        file = self.folder / "pyproject.toml"
        said = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        app = said.get("tool", {}).get("kit", {}).get("app")
        if not isinstance(app, str):
            raise DefinitionError(
                f"the {self.name} version",
                rule=f"its pyproject.toml has no app in [tool.kit], so its worker cannot be run: {app!r}",
                fix="add one (in an old version: name a later one with --base), or check with --replay-only",
            )
        return app

    def command(self, *arguments: str) -> list[str]:
        """How to run the visitor in it."""
        return [str(self.python), "-m", VISITOR, *arguments]

    def environment(self, said: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of its processes: its code comes before what is installed, and the other version's not."""
        path = os.pathsep.join([str(self.folder), str(self.visitors)])
        other = {} if self.other is None else {OTHER: str(self.other.resolve())}
        return {**os.environ, **(said or {}), "PYTHONPATH": path, **other}


def present(folder: Path, into: Path) -> Version:
    """The version one works in, with what is not yet committed."""
    return Version("new", folder, Path(sys.executable), _visitor(into))


def previous(folder: Path, ref: str, into: Path) -> Version:
    """The version that git has under a name, in an environment of its own.

    It runs with the packages that are installed now, unless its `CONSTRAINTS` pin others: those are installed for it.

    Args:
        folder: The service.
        ref: A commit, a tag or a branch.
        into: An empty folder.

    Raises:
        DefinitionError: The folder is in no git repository, or there is no such version; with the fix.
    """
    tree = into / "old"
    tree.mkdir()
    top = Path(_git(folder, ref, "rev-parse", "--show-toplevel").decode().strip())
    archive = _git(top, ref, "archive", "--format=tar", f"{ref}^{{commit}}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(tree, filter="data")
    inside = tree / folder.resolve().relative_to(top.resolve())
    if not inside.is_dir():
        raise DefinitionError(
            f"version {ref!r}", rule=f"it has no folder {inside.relative_to(tree)}", fix="name a later version"
        )
    python, notes = _packages(pins(folder / CONSTRAINTS), pins(inside / CONSTRAINTS), into / "packages")
    return Version("old", inside, python, _visitor(into), notes, other=folder)


def _visitor(into: Path) -> Path:
    home = into / "visitors"
    if not home.exists():
        source = Path(watching.__file__).parent
        shutil.copytree(source, home / VISITOR, ignore=shutil.ignore_patterns("__pycache__"))
    return home


def _git(folder: Path, ref: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)  # noqa: S603, S607 - git, wherever it is
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise DefinitionError(
            f"version {ref!r} of {folder}",
            rule=f"git has no such version: {said.decode(errors='replace').strip()}",
            fix="name a commit that this clone has, with --base; CI clones are shallow unless they fetch all history",
        ) from error
    return done.stdout


def pins(file: Path) -> dict[str, str]:
    """The exact versions in a constraints file, by package; none when there is no file."""
    if not file.is_file():
        return {}
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def _packages(now: dict[str, str], then: dict[str, str], home: Path) -> tuple[Path, tuple[str, ...]]:
    """An interpreter with the packages of then: the one of now, or one with the differing packages on top of it."""
    here = Path(sys.executable)
    other = {name: version for name, version in then.items() if now.get(name, version) != version}
    if not other:
        return here, ()
    listed = ", ".join(f"{name} {version} (now {now[name]})" for name, version in sorted(other.items()))
    try:
        _run([str(here), "-m", "venv", "--without-pip", str(home)])
        python = home / ("Scripts" if os.name == "nt" else "bin") / here.name
        wanted = [f"{name}=={version}" for name, version in sorted(other.items())]
        _run([str(here), "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", *wanted])
        site = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
        inherited = _run([str(here), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        # Not the bare path: what is installed there in editable form lies behind `.pth` files of its own.
        (Path(site) / "inherited.pth").write_text(f"import site; site.addsitedir({inherited.strip()!r})\n")
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return here, (
            f"the old version pins other packages, which could not be installed: {listed}. It runs with those of now. "
            f"({said[-1] if said else error})",
        )
    return python, (f"the old version runs with the packages it pins: {listed}",)


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603 - our own interpreter
