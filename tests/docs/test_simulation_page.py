"""The reference of the simulation lists what the SDK offers and what the code refuses."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest
from temporalio import activity, workflow

from kit.testing.engines.simulation import refusals
from tests.docs.pages import ROOT, rows, section

PAGE = ROOT / "docs/reference/simulation.md"


@pytest.mark.parametrize(("module", "title"), [(workflow, "Workflow code"), (activity, "Activity code")])
def test_every_function_of_the_sdk_is_listed(module: ModuleType, title: str) -> None:
    """A release of the SDK that brings another one makes this fail: is it modelled, or refused?"""
    offered = {
        name
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and member.__module__.startswith("temporalio")
    }
    listed = [name for row in rows(PAGE, title) for name in re.findall(r"`(\w+)`", row[0])]

    assert sorted(listed) == sorted(offered)


def test_every_refused_option_is_listed() -> None:
    """The row of the function that has it says so."""
    text = section(PAGE, "Workflow code")

    assert {option for options in refusals._OPTIONS.values() for option in options} == {
        name for refused in re.findall(r"Refused: (.*?) \|", text) for name in re.findall(r"`(\w+)`", refused)
    }
    assert {words.removeprefix("a ") for words in refusals.COMMANDS.values()} == {"local activity", "Nexus operation"}
