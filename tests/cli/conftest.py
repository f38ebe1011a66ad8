"""A service for the `kit` command to find."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WriteService = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """What a test imports from its service, and the folder it puts on the path, is forgotten after it.

    By hand: what `monkeypatch` took out of `sys.modules` it puts back, and that must come first.
    """
    path, known, writes = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    yield
    sys.path[:], sys.dont_write_bytecode = path, writes
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
