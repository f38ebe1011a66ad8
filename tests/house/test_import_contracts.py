"""Each import contract holds, and fails when it is broken."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house._checkout import CHECKOUT

ROOT_PACKAGES = ("kit", "activities", "workflows", "temporal")

ROOMS = "Rooms of the kit import downwards"
PURE = "The workflow side loads no I/O library"
WORKFLOW_ROOMS = "Contracts and workflows use the workflow-side rooms only"
CONTRACTS_ONLY = "Workflows know activities by their contracts only"
KIT_ALONE = "The kit knows no service"
APP_ON_TOP = "Nothing imports the app, and activities no workflow"

UNPLACED = "kit.a_room_nobody_placed"

# (contract, file that breaks it, the import that breaks it)
BREAKS = [
    (ROOMS, "kit/errors.py", "import kit.contract"),
    (ROOMS, "kit/contract/_bad.py", "import kit.telemetry"),
    (ROOMS, "kit/contract/_bad.py", "import kit.ledger"),
    (ROOMS, "kit/telemetry/_bad.py", "import kit.workflow"),
    (ROOMS, "kit/ledger/_bad.py", "import kit.worker"),
    (ROOMS, "kit/ledger/_bad.py", "import kit.workflow"),
    (ROOMS, "kit/workflow/_bad.py", "import kit.ledger"),
    (ROOMS, "kit/workflow/_bad.py", "import kit.worker"),
    (ROOMS, "kit/worker/_bad.py", "import kit.operate"),
    (ROOMS, "kit/operate/_bad.py", "import kit.testing"),
    (ROOMS, "kit/testing/_bad.py", "import kit.cli"),
    (ROOMS, "kit/a_room_nobody_placed.py", "import json"),
    (PURE, "kit/contract/_bad.py", "import httpx"),
    (PURE, "kit/telemetry/_bad.py", "import sqlalchemy"),
    (PURE, "kit/workflow/_bad.py", "import sqlite3"),
    (PURE, "activities/payments/contract.py", "import aiosmtplib"),
    (PURE, "activities/payments/contract.py", "import activities.payments._bad"),
    (PURE, "workflows/_bad.py", "from uvicorn import Config"),
    (WORKFLOW_ROOMS, "activities/payments/contract.py", "import kit.worker"),
    (WORKFLOW_ROOMS, "workflows/_bad.py", "import kit.ledger"),
    (WORKFLOW_ROOMS, "workflows/_bad.py", "import kit.operate"),
    (CONTRACTS_ONLY, "workflows/_bad.py", "import activities.payments._bad"),
    (KIT_ALONE, "kit/testing/_bad.py", "import activities.payments.contract"),
    (KIT_ALONE, "kit/worker/_bad.py", "import temporal"),
    (APP_ON_TOP, "activities/payments/_bad.py", "import workflows"),
    (APP_ON_TOP, "workflows/_bad.py", "import temporal"),
]


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter over a tree as `scripts/check` does."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": "", "COLUMNS": "200", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout in which every room exists, one connector does I/O, and all is well."""
    for name in ROOT_PACKAGES:
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    rooms = ("contract", "telemetry", "ledger", "workflow", "worker", "operate", "testing", "cli")
    for package in (*(f"kit/{room}" for room in rooms), "activities/payments"):
        if not (tmp_path / f"{package}.py").exists():
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "__init__.py").touch()
    (tmp_path / "kit/errors.py").touch()
    (tmp_path / "activities/payments/contract.py").touch()
    (tmp_path / "activities/payments/_bad.py").write_text("import httpx\n")
    return tmp_path


@pytest.mark.slow
def test_every_contract_holds(tree: Path) -> None:
    """The tree as it is breaks no contract, and each contract named here is one of its contracts."""
    result = lint_imports(tree)

    assert result.returncode == 0, result.stdout + result.stderr
    for contract, _, _ in BREAKS:
        assert f"{contract} KEPT" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("contract", sorted({contract for contract, _, _ in BREAKS}))
def test_a_broken_contract_fails_by_name(tree: Path, contract: str) -> None:
    """Imports that a contract forbids make the linter fail and name that contract, and under it each of the imports."""
    breaks = [(file, line) for broken, file, line in BREAKS if broken == contract]
    for file, line in breaks:
        target = tree / file
        old = target.read_text() if target.exists() else ""
        target.write_text(f"{old}\n{line}\n")

    result = lint_imports(tree)

    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout, result.stdout + result.stderr
    told = told_of(contract, result.stdout)
    assert [one for one in breaks if named(*one) not in told] == [], told


def told_of(contract: str, report: str) -> str:
    """What a report says of one broken contract."""
    _, _, rest = report.partition(f"\n{contract}\n{'-' * len(contract)}\n")
    return re.split(r"\n\n[^\n]+\n-{10,}\n", rest)[0]


def named(file: str, line: str) -> str:
    """How a report names an import; of a room that has no place, only the room."""
    importer = file.removesuffix(".py").replace("/", ".")
    return importer if importer == UNPLACED else f"{importer} -> {line.split()[1]} "
