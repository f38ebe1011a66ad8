"""``kit map``: which effects a workflow has, in which order, and what can be done about each."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.choosing import chosen
from kit.cli.discovery import find_connectors, find_workflows
from kit.errors import DefinitionError
from kit.testing.report import mermaid as flow_chart
from kit.testing.report import outline, side_effects
from kit.testing.report.side_effects import name_of
from kit.worker import Connector

map = App(name="map", help="Print the effects of a workflow: order, effect, once, key, undo.")


@map.default
async def show(workflow: str, *, mermaid: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Print the side-effect map of one of the service's workflows, from its source and the contracts; nothing is run.

    Args:
        workflow: The workflow's type.
        mermaid: Print a Mermaid flow chart instead.
    """
    named = {name_of(cls): cls for cls in find_workflows()}
    found = side_effects(chosen(named, workflow, what="workflow"), connectors=_connectors())
    if mermaid:
        print(flow_chart(found), end="")
    else:
        print(outline(found), end="")
    return 0


def _connectors() -> tuple[type[Connector], ...]:
    """The service's connectors; none when it names none: then the map says only what the contracts say."""
    try:
        return find_connectors()
    except DefinitionError:
        return ()
