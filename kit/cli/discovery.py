"""How the `kit` command finds the service it is run in.

The service says in its own ``pyproject.toml`` where its parts are, as ``"module:attribute"``::

    [tool.kit]
    app = "temporal.app:app"                 # what `App` below asks for: runs workers, and lets operators in
    demo = "temporal.demo:main"              # `async def main(*, once: bool, json: bool) -> int`
    workflows = "temporal.app:WORKFLOWS"     # the workflow classes of the workers
    connectors = "temporal.app:CONNECTORS"   # their connector classes
    sources = ["activities", "workflows"]    # the folders and files that `kit lint` reads
    subjects = "tests.worlds:SUBJECTS"       # what `kit verify` puts under faults: `kit.testing.Subject` objects

The nearest such file from the current folder upwards counts, and its folder is put on the import path. So the kit
imports no service, and works in any.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from kit.errors import DefinitionError

if TYPE_CHECKING:
    from kit.operate import Operating
    from kit.testing.world import Subject
    from kit.worker import Connector

PROJECT_FILE: Final = "pyproject.toml"
TABLE: Final = "tool.kit"


class App(Protocol):
    """What ``app`` must offer."""

    async def work(self) -> int:
        """Run a worker until it is told to stop; returns the exit code."""

    def operating(self) -> AbstractAsyncContextManager[Operating]:
        """What operators' commands work on, opened."""


class Demo(Protocol):
    """What ``demo`` must be."""

    def __call__(self, *, once: bool, json: bool) -> Awaitable[int]:
        """Show the service at work; returns the exit code."""


def find_app(start: Path | None = None) -> App:
    """The app of the service around ``start``, by default the current folder.

    Raises:
        DefinitionError: There is none, with what to write where.
    """
    return cast(App, _find("app", "work", start))


def operating(start: Path | None = None) -> AbstractAsyncContextManager[Operating]:
    """What operators' commands work on, of the service around ``start``, by default the current folder.

    Raises:
        DefinitionError: There is no service, or it does not let operators in, with what to write where.
    """
    app: App = _find("app", "operating", start)
    return app.operating()


def find_demo(start: Path | None = None) -> Demo:
    """The demo of the service around ``start``, by default the current folder.

    Raises:
        DefinitionError: There is none, with what to write where.
    """
    return cast(Demo, _find("demo", "__call__", start))


def find_workflows(start: Path | None = None) -> tuple[type, ...]:
    """The workflow classes of the service around ``start``, by default the current folder.

    Raises:
        DefinitionError: There are none, with what to write where.
    """
    return _find_classes("workflows", start)


def find_connectors(start: Path | None = None) -> tuple[type[Connector], ...]:
    """The connector classes of the service around ``start``, by default the current folder.

    Raises:
        DefinitionError: There are none, or one is no connector, with what to write where.
    """
    from kit.worker import Connector  # noqa: PLC0415 - most commands have no use for a worker

    found = _find_classes("connectors", start)
    for connector in found:
        if not issubclass(connector, Connector):
            raise DefinitionError(
                f"'connectors' of [{TABLE}]",
                rule=f"{connector.__qualname__} is no connector",
                fix="name classes that derive from kit.worker.Connector",
            )
    return found


def find_subjects(start: Path | None = None) -> tuple[Subject, ...]:
    """What the service around ``start``, by default the current folder, puts under faults.

    Raises:
        DefinitionError: There is nothing, or something else, with what to write where.
    """
    where, found = _target("subjects", start)
    # By its attributes: whoever only starts a worker does not load the proof.
    wrong = [item for item in found if not hasattr(item, "world")] if isinstance(found, list | tuple) else [found]
    if wrong or not found:
        raise DefinitionError(
            where,
            rule=f"it is {found!r}, not a tuple of subjects",
            fix="list kit.testing.Subject(...) objects in a tuple, one for each workflow",
        )
    return tuple(found)


def find_sources(start: Path | None = None) -> tuple[Path, ...]:
    """The folders and files of the service around ``start`` that ``kit lint`` reads.

    Raises:
        DefinitionError: There are none, with what to write where.
    """
    folder, table = _settings(start or Path.cwd())
    names = table.get("sources")
    if not isinstance(names, list) or not names:
        raise DefinitionError(
            f"[{TABLE}] in {folder / PROJECT_FILE}",
            rule=f"its 'sources' are {names!r}, not a list of folders and files",
            fix='add a line such as sources = ["activities", "workflows"], or name the paths on the command line',
        )
    return tuple(folder / str(name) for name in names)


def find_folder(start: Path | None = None) -> Path:
    """The folder of the service around ``start``, by default the current folder: where its ``pyproject.toml`` lies.

    Raises:
        DefinitionError: There is no service.
    """
    return _settings(start or Path.cwd())[0]


def find_optional(entry: str, start: Path | None = None) -> tuple[str, Any] | None:
    """What an entry names that a service may leave out, with its ``"module:attribute"``; ``None`` when it does.

    Raises:
        DefinitionError: It is there and leads nowhere.
    """
    name = _settings(start or Path.cwd(), entry)[1].get(entry)
    return None if name is None else (str(name), _target(entry, start)[1])


def _find_classes(entry: str, start: Path | None) -> tuple[type, ...]:
    where, found = _target(entry, start)
    if not isinstance(found, list | tuple) or not found or not all(isinstance(item, type) for item in found):
        raise DefinitionError(where, rule=f"it is {found!r}, not a tuple of classes", fix="list the classes in a tuple")
    return tuple(found)


def _find(entry: str, method: str, start: Path | None) -> Any:
    where, found = _target(entry, start)
    if not callable(getattr(found, method, None)):
        raise DefinitionError(
            where,
            rule=f"it is {found!r}, which has no method {method!r}" if entry == "app" else f"{found!r} is not callable",
            fix="see the docstring of kit.cli.discovery for what it must offer",
        )
    return found


def _target(entry: str, start: Path | None) -> tuple[str, Any]:
    """What an entry of the table names, and how messages call it."""
    folder, table = _settings(start or Path.cwd(), entry)
    file = folder / PROJECT_FILE
    target = table.get(entry)
    if target is None:
        raise DefinitionError(
            f"[{TABLE}] in {file}",
            rule=f"it has no {entry!r}; it has {', '.join(sorted(table)) or 'nothing'}",
            fix=f'add a line such as {entry} = "package.module:attribute"',
        )
    where = f"{entry} = {target!r} in {file}"
    module_name, colon, attribute = target.partition(":") if isinstance(target, str) else ("", "", "")
    if not (module_name and colon and attribute):
        raise DefinitionError(
            where, rule="it is not of the form 'module:attribute'", fix='write for example "temporal.app:app"'
        )
    return where, _load(where, folder, module_name, attribute)


def _settings(start: Path, entry: str = "app") -> tuple[Path, dict[str, Any]]:
    """The nearest folder with a ``[tool.kit]``, and that table; an entry is what whoever has none is told to write."""
    passed = []
    for folder in (start, *start.parents):
        file = folder / PROJECT_FILE
        if not file.is_file():
            continue
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DefinitionError(str(file), rule=f"it is no TOML: {error}", fix="mend the file") from error
        table = content.get("tool", {}).get("kit")
        if isinstance(table, dict):
            return folder, table
        passed.append(str(file))
    seen = f"; {' and '.join(passed)} has none" if passed else f"; there is no {PROJECT_FILE} either"
    raise DefinitionError(
        f"folder {str(start)!r}",
        rule=f"neither it nor a folder above it has a {PROJECT_FILE} with a [{TABLE}] table{seen}",
        fix=f'go to your service\'s folder, or add [{TABLE}] with {entry} = "module:attribute" to its {PROJECT_FILE}',
    )


def _load(where: str, folder: Path, module_name: str, attribute: str) -> Any:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise DefinitionError(
                where,
                rule=f"there is no module {missing!r}, looked for in {folder} first",
                fix="correct the name, or the folder the file lies in",
            ) from error
        raise DefinitionError(
            where,
            rule=f"importing {module_name!r} failed: there is no module {missing!r}",
            fix=f"install what provides {missing!r} into {sys.prefix}",
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = ", ".join(sorted(key for key in vars(found) if not key.startswith("_"))) or "nothing"
            raise DefinitionError(
                where, rule=f"{module_name!r} has no attribute {name!r}; it has {public}", fix="correct the name"
            )
        found = getattr(found, name)
    return found
