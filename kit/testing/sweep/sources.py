"""The sources that a verdict is about, as one digest."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import kit

_INSTALLED: Final = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


def code_hash(*subjects: Any) -> str:
    """The digest of the kit's sources and of every module of the service that these objects come from or import.

    Libraries are left out: the lock file speaks for them.

    Args:
        *subjects: Classes, functions or instances.

    Returns:
        12 hexadecimal digits, the same on every machine with the same sources.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_files(subjects)):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def service_sources(*subjects: Any) -> list[Path]:
    """The sources of the service that these objects come from or import; none of the kit, none of a library."""
    return sorted(path for _, path in _of_service(subjects))


def _files(subjects: Iterable[Any]) -> set[tuple[str, Path]]:
    root = Path(kit.__file__).parent
    return {(path.relative_to(root.parent).as_posix(), path) for path in root.rglob("*.py")} | _of_service(subjects)


def _of_service(subjects: Iterable[Any]) -> set[tuple[str, Path]]:
    files: set[tuple[str, Path]] = set()
    waiting = [getattr(one, "__module__", None) or type(one).__module__ for one in subjects]
    visited: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in visited:
            continue
        visited.add(name)
        path = _own_source(name)
        if path is not None:
            files.add((name, path))
            package = getattr(sys.modules[name], "__package__", None)
            waiting += sorted(_imported(path.read_text(encoding="utf-8"), package or ""))
    return files


def _own_source(name: str) -> Path | None:
    """Where a module of the service lies; ``None`` for a library's, and for the kit's own."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.partition(".")[0] == kit.__name__:
        return None
    path = Path(file)
    return path if path.suffix == ".py" and not any(path.is_relative_to(folder) for folder in _INSTALLED) else None


def _imported(source: str, package: str) -> set[str]:
    """The modules that a source of a package names in its imports. A name taken from a module may be a module too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (module := _module_of(node, package)):
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def _module_of(node: ast.ImportFrom, package: str) -> str:
    """The module that names are taken from; empty where it lies above its outermost package."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join(filter(None, (*above, node.module)))
