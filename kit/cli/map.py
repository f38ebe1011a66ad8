"""``kit map``: which effects a workflow has, in which order, and what can be done about each."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.choosing import chosen, connectors_of, subject_named, subjects_named
from kit.cli.discovery import find_connectors, find_optional, find_subjects, find_workflows
from kit.testing.report import mermaid as flow_chart
from kit.testing.report import outline, side_effects
from kit.testing.report.side_effects import SideEffectMap, name_of

map = App(name="map", help="Print the effects of a workflow: order, effect, once, key, undo.")


@map.default
async def show(workflow: str, *, mermaid: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Print the side-effect map of one of the service's workflows, from its source and the contracts; nothing is run.

    Args:
        workflow: The workflow's type.
        mermaid: Print a Mermaid flow chart instead.
    """
    found = await _found(workflow)
    if mermaid:
        print(flow_chart(found), end="")
    else:
        print(outline(found), end="")
    return 0


async def _found(workflow: str) -> SideEffectMap:
    if find_optional("workflows") is None and find_optional("subjects") is not None:
        subject = subject_named(subjects_named(find_subjects()), workflow)
        return side_effects(subject.workflow, connectors=await connectors_of(subject))
    named = {name_of(cls): cls for cls in find_workflows()}
    # Without them the map says only what the contracts say.
    connectors = find_connectors() if find_optional("connectors") is not None else ()
    return side_effects(chosen(named, workflow, what="workflow"), connectors=connectors)
