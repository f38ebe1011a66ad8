"""Each package of the kit says what it is and what of it is public."""

import ast
import importlib
import os
import sysconfig
from pathlib import Path

import pytest

import kit
from tests.house._checkout import CHECKOUT

KIT = Path(kit.__file__).parent
INITS = sorted(path.relative_to(KIT.parent) for path in KIT.rglob("__init__.py"))


def package_of(init: Path) -> str:
    """The dotted name of the package that an `__init__.py` belongs to."""
    return ".".join(init.parent.parts)


def body_of(init: Path) -> tuple[str | None, list[ast.stmt]]:
    """The docstring of an `__init__.py`, and the statements after it."""
    module = ast.parse((KIT.parent / init).read_text(encoding="utf-8"))
    docstring = ast.get_docstring(module)
    return docstring, module.body[1:] if docstring else module.body


def imports_of(statements: list[ast.stmt]) -> list[ast.Import | ast.ImportFrom]:
    """The imports among some statements; also what is loaded only when it is asked for, which type checkers see."""
    found: list[ast.Import | ast.ImportFrom] = []
    for statement in statements:
        match statement:
            case ast.Import() | ast.ImportFrom():
                found.append(statement)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=seen, orelse=[ast.ImportFrom() as loader]):
                found += [*imports_of(seen), loader]
    return found


def is_all(statement: ast.stmt) -> bool:
    """Whether a statement gives `__all__` its value."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
            return True
    return False


def test_packages_are_found() -> None:
    """The tests below look at the kit itself."""
    assert Path("kit/__init__.py") in INITS


@pytest.mark.parametrize("init", INITS, ids=package_of)
def test_init_holds_docstring_imports_and_all_only(init: Path) -> None:
    """A package's `__init__` is a docstring, imports and `__all__`: code lives in modules with a name."""
    docstring, statements = body_of(init)

    others = [s for s in statements if not imports_of([s]) and not is_all(s)]

    assert docstring, f"{init} has no docstring"
    assert not others, f"{init} line {others[0].lineno}: {ast.unparse(others[0])[:80]!r} belongs in a module"


@pytest.mark.parametrize("init", INITS, ids=package_of)
def test_all_is_what_the_package_binds(init: Path) -> None:
    """`__all__` lists each public name that the package imports, once, and nothing else."""
    _, statements = body_of(init)
    imported = [alias.asname or alias.name for statement in imports_of(statements) for alias in statement.names]

    package = importlib.import_module(package_of(init))
    exported = list(getattr(package, "__all__", []))

    # The order is ruff's business (RUF022: constants, classes, functions; each sorted).
    assert sorted(exported) == sorted(name for name in imported if not name.startswith("_") and name != "TYPE_CHECKING")
    assert all(hasattr(package, name) for name in exported)


def test_kit_under_test_is_the_expected_one() -> None:
    """`scripts/test` tests the checkout's kit; `scripts/test --wheel` the installed one."""
    installed = os.environ.get("KIT_EXPECT_WHEEL") == "1"

    expected = Path(sysconfig.get_path("purelib")) if installed else CHECKOUT

    assert KIT.parent.resolve() == expected.resolve()
