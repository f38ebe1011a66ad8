"""What is imported is declared, where it is needed."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house._checkout import CHECKOUT

OURS = {"kit", "activities", "workflows", "temporal", "tests"}
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
CORE = PYPROJECT["project"]["dependencies"]


def normal(name: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements name."""
    return {normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


@cache
def _installed() -> dict[str, list[str]]:
    """The distributions that a module may come from: read once, which takes long enough."""
    return dict(packages_distributions())


def undeclared_imports(path: Path, declared: set[str]) -> list[str]:
    """Imports of a file that belong to no declared distribution."""
    found = []
    installed = _installed()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=aliases):
                modules = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        for module in modules:
            top = module.partition(".")[0]
            if top in OURS or top in sys.stdlib_module_names:
                continue
            if not {normal(name) for name in installed.get(top, [])} & declared:
                found.append(f"{path.relative_to(CHECKOUT)}:{node.lineno}: {module}")
    return found


@pytest.mark.parametrize(
    ("folders", "requirements"),
    [
        (["kit"], [*CORE, *EXTRAS["postgres"], *EXTRAS["testing"]]),
        (["kit/contract", "kit/telemetry", "kit/workflow", "kit/worker", "kit/operate", "kit/cli"], CORE),
        (["kit/ledger"], [*CORE, *EXTRAS["postgres"]]),
        (["activities", "workflows"], [*CORE, *GROUPS["reference"]]),
        (["temporal"], [*CORE, *GROUPS["reference"], *EXTRAS["postgres"], *EXTRAS["testing"]]),
    ],
    ids=lambda value: value[0] if len(value) == 1 else None,
)
def test_imports_are_declared(folders: list[str], requirements: list[str]) -> None:
    """Every import belongs to a package that is declared for those who use that room."""
    files = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]

    found = [line for path in files for line in undeclared_imports(path, names(requirements))]

    assert not found, "\n".join(found)


def test_an_undeclared_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that nobody declared is reported with file and line."""
    monkeypatch.setattr(sys.modules[__name__], "CHECKOUT", tmp_path)
    (tmp_path / "bad.py").write_text("import json\nimport httpx, mypy.api\n")

    assert undeclared_imports(tmp_path / "bad.py", {"httpx"}) == ["bad.py:2: mypy.api"]
