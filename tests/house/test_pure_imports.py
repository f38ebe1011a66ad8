"""Importing what workflows import loads no I/O library: seen from outside, in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Not the checkout: in `scripts/test --wheel` the service beside the installed kit.
ROOT = Path(__file__).resolve().parents[2]

FORBIDDEN = {
    *("aiosmtplib", "aiosqlite", "alembic", "asyncpg", "httpx", "requests"),
    *("sqlalchemy", "sqlite3", "starlette", "urllib3", "uvicorn"),
}
ROOMS = ["kit", "kit.errors", "kit.contract", "kit.telemetry", "kit.workflow"]
CONTRACTS = [f"activities.{path.parent.name}.contract" for path in sorted(ROOT.glob("activities/*/contract.py"))]
WORKFLOWS = [f"workflows.{path.stem}" for path in sorted(ROOT.glob("workflows/*.py")) if path.stem != "__init__"]

SQL = {"aiosqlite", "alembic", "asyncpg", "sqlalchemy", "sqlite3"}

PROGRAM = """
import importlib, json, sys
found = {}
for module in sys.argv[1:]:
    known = set(sys.modules)
    importlib.import_module(module)
    found[module] = sorted(set(sys.modules) - known)
print(json.dumps(found))
"""


def loaded_by(*modules: str) -> dict[str, set[str]]:
    """The forbidden packages that each of some modules, imported one after the other, is the first to load."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packages = {module: {name.partition(".")[0] for name in new} for module, new in json.loads(result.stdout).items()}
    return {module: names & FORBIDDEN for module, names in packages.items() if names & FORBIDDEN}


@pytest.mark.slow
def test_the_probe_sees_an_io_library() -> None:
    """A module that does I/O is found out, also behind one that does none."""
    found = loaded_by("kit.errors", "httpx")

    assert list(found) == ["httpx"]
    assert "httpx" in found["httpx"]


@pytest.mark.slow
def test_workflow_side_loads_no_io_library() -> None:
    """All modules of the workflow side can be imported without loading anything that reads or writes.

    One interpreter imports all of them: what none of them loads together, none loads alone.
    """
    assert loaded_by(*ROOMS, "workflows", *CONTRACTS, *WORKFLOWS) == {}


@pytest.mark.slow
def test_a_sql_library_is_loaded_where_it_is_asked_for() -> None:
    """A worker, a sweep and the command line start without one: it is a third of what there is to load."""
    rooms = ("kit.worker", "kit.operate", "kit.testing", "kit.cli.main", "kit.cli.verify")

    found = loaded_by(*rooms, "kit.ledger.factory")

    assert [name for name in rooms if found.get(name, set()) & SQL] == []
    assert {"alembic", "sqlalchemy"} <= found["kit.ledger.factory"]


def test_a_ledger_that_there_is_not_is_an_error_of_its_own_name() -> None:
    """What is loaded when it is asked for can be misspelt, and is then no riddle."""
    with pytest.raises(ImportError, match="SqlLegder"):
        from kit.ledger import SqlLegder  # type: ignore[attr-defined]  # noqa: F401
