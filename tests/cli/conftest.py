"""A service for the `kit` command to find."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WriteService = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports from its service, and the folder it puts on the path, is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("service"):
            del sys.modules[name]


@pytest.fixture
def write_service(tmp_path: Path) -> WriteService:
    """Writes a service: its `[tool.kit]` table, and the module `service`."""

    def write(table: str, code: str = "") -> Path:
        (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
        (tmp_path / "service.py").write_text(code, encoding="utf-8")
        return tmp_path

    return write
