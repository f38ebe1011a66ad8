"""Importing what workflows import loads no I/O library: seen from outside, in a fresh interpreter."""

import importlib.util
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

PROGRAM = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(list(sys.modules)))"


def loaded_by(module: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after importing a module."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(result.stdout)}


@pytest.mark.slow
def test_the_probe_sees_an_io_library() -> None:
    """A module that does I/O is found out."""
    assert "httpx" in loaded_by("httpx") & FORBIDDEN


@pytest.mark.slow
@pytest.mark.parametrize("module", [*ROOMS, "workflows", *CONTRACTS, *WORKFLOWS])
def test_workflow_side_loads_no_io_library(module: str) -> None:
    """A module of the workflow side can be imported without loading anything that reads or writes."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not built yet")

    assert not loaded_by(module) & FORBIDDEN
