"""How the `kit` command finds the service it is run in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kit.cli.discovery import find_app, find_connectors, find_demo, find_folder, find_sources, find_workflows
from kit.errors import DefinitionError
from tests.cli.conftest import WriteService

APP = '[tool.kit]\napp = "service:app"\n'
CODE = """
class App:
    async def work(self):
        return 7

app = App()
broken = object()
"""


def test_app_is_found_from_a_folder_below(write_service: WriteService) -> None:
    """The nearest pyproject.toml upwards with a [tool.kit] names the service, whatever lies between."""
    folder = write_service(APP, CODE)
    below = folder / "deep" / "down"
    below.mkdir(parents=True)
    (folder / "deep" / "pyproject.toml").write_text('[project]\nname = "another"\n', encoding="utf-8")

    app = find_app(below)

    assert type(app).__name__ == "App"
    assert sys.path[0] == str(folder)


def test_no_project_file_is_said_with_the_folder(tmp_path: Path) -> None:
    """Outside any service the message names the folder, the rule and the fix."""
    with pytest.raises(DefinitionError) as caught:
        find_app(tmp_path)

    assert str(caught.value) == (
        f"folder {str(tmp_path)!r}: neither it nor a folder above it has a pyproject.toml with a [tool.kit] table; "
        "there is no pyproject.toml either. Fix: go to your service's folder, or add [tool.kit] with "
        'app = "module:attribute" to its pyproject.toml.'
    )


def test_project_without_table_is_named(write_service: WriteService) -> None:
    """A pyproject.toml without [tool.kit] is named, for it may be the one that was meant."""
    folder = write_service('[project]\nname = "another"\n')

    with pytest.raises(DefinitionError, match=r"pyproject\.toml has none") as caught:
        find_app(folder)

    assert str(folder / "pyproject.toml") in str(caught.value)


def test_missing_entry_is_said_with_those_that_are_there(write_service: WriteService) -> None:
    """A service without a demo is told which entry to add."""
    folder = write_service(APP, CODE)

    with pytest.raises(DefinitionError) as caught:
        find_demo(folder)

    assert str(caught.value) == (
        f"[tool.kit] in {folder / 'pyproject.toml'}: it has no 'demo'; it has app. "
        'Fix: add a line such as demo = "package.module:attribute".'
    )


@pytest.mark.parametrize("target", ['"service.app"', '":app"', '"service:"', "7"])
def test_target_of_another_form_is_refused(write_service: WriteService, target: str) -> None:
    """A target is 'module:attribute' and nothing else."""
    folder = write_service(f"[tool.kit]\napp = {target}\n", CODE)

    with pytest.raises(DefinitionError, match="it is not of the form 'module:attribute'"):
        find_app(folder)


def test_missing_module_is_said_with_where_it_was_looked_for(write_service: WriteService) -> None:
    """A misspelt module is told apart from a module that fails to import."""
    folder = write_service('[tool.kit]\napp = "servcie:app"\n')

    with pytest.raises(DefinitionError) as caught:
        find_app(folder)

    assert f"there is no module 'servcie', looked for in {folder} first" in str(caught.value)


def test_module_with_a_missing_import_is_told_apart(write_service: WriteService) -> None:
    """When the service is there and something it imports is not, that is what must be installed."""
    folder = write_service(APP, "import not_installed_anywhere\n")

    with pytest.raises(DefinitionError, match="install what provides 'not_installed_anywhere'"):
        find_app(folder)


def test_missing_attribute_is_said_with_those_that_are_there(write_service: WriteService) -> None:
    """A misspelt attribute is answered with the public names of the module."""
    folder = write_service('[tool.kit]\napp = "service:ap"\n', CODE)

    with pytest.raises(DefinitionError) as caught:
        find_app(folder)

    assert "'service' has no attribute 'ap'; it has App, app, broken. Fix: correct the name." in str(caught.value)


def test_app_without_its_method_is_refused(write_service: WriteService) -> None:
    """An app that cannot work is refused before anything is started."""
    folder = write_service('[tool.kit]\napp = "service:broken"\n', CODE)

    with pytest.raises(DefinitionError, match="which has no method 'work'"):
        find_app(folder)


def test_demo_that_cannot_be_called_is_refused(write_service: WriteService) -> None:
    """A demo is something to call."""
    folder = write_service('[tool.kit]\ndemo = "service:broken"\n', CODE)

    with pytest.raises(DefinitionError, match="is not callable"):
        find_demo(folder)


def test_broken_project_file_is_said(write_service: WriteService) -> None:
    """A pyproject.toml that is no TOML is named, with the parser's own words."""
    folder = write_service("[tool.kit\n")

    with pytest.raises(DefinitionError, match="it is no TOML") as caught:
        find_app(folder)

    assert str(folder / "pyproject.toml") in str(caught.value)


def test_error_inside_the_service_goes_through(write_service: WriteService) -> None:
    """What the service itself raises on import is not the command's to explain."""
    folder = write_service(APP, "raise ZeroDivisionError('in the service')\n")

    with pytest.raises(ZeroDivisionError, match="in the service"):
        find_app(folder)


CLASSES = """
from kit.worker import Connector

class Shop(Connector):
    pass

class Gift:
    pass

connectors = (Shop,)
workflows = [Gift]
"""


def test_classes_are_found(write_service: WriteService) -> None:
    """The workflow and connector classes of a service are what its table names, as tuples."""
    folder = write_service('[tool.kit]\nworkflows = "service:workflows"\nconnectors = "service:connectors"\n', CLASSES)

    assert [cls.__name__ for cls in (*find_workflows(folder), *find_connectors(folder))] == ["Gift", "Shop"]


@pytest.mark.parametrize("value", ["()", "(7,)", "object()"])
def test_what_lists_no_classes_is_refused(write_service: WriteService, value: str) -> None:
    """An entry that should list classes and lists something else, or nothing, is shown."""
    folder = write_service('[tool.kit]\nworkflows = "service:workflows"\n', f"workflows = {value}\n")

    with pytest.raises(DefinitionError, match="not a tuple of classes"):
        find_workflows(folder)


def test_a_class_that_is_no_connector_is_named(write_service: WriteService) -> None:
    """A workflow among the connectors is a mistake that is named."""
    folder = write_service('[tool.kit]\nconnectors = "service:workflows"\n', CLASSES)

    with pytest.raises(DefinitionError, match="Gift is no connector"):
        find_connectors(folder)


def test_sources_lie_in_the_folder_of_the_service(write_service: WriteService) -> None:
    """The sources are paths below the folder of the service, wherever one asks from."""
    folder = write_service('[tool.kit]\nsources = ["activities", "flow.py"]\n')
    (folder / "deep").mkdir()

    assert find_folder(folder / "deep") == folder
    assert find_sources(folder / "deep") == (folder / "activities", folder / "flow.py")


@pytest.mark.parametrize("table", ["", 'sources = "activities"', "sources = []"])
def test_missing_sources_are_said(write_service: WriteService, table: str) -> None:
    """Sources are a list of names that is not empty."""
    folder = write_service(f"[tool.kit]\n{table}\n")

    with pytest.raises(DefinitionError, match="not a list of folders and files"):
        find_sources(folder)
