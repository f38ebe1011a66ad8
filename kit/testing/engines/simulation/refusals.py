"""What the simulation does not model. It says so, and what to do: nothing of it passes silently.

`docs/reference/simulation.md` lists what is modelled and what is refused.
"""

from __future__ import annotations

from typing import Any, Final

from kit.errors import UnsupportedScenario

ON_THE_SERVER: Final = "run it on the server engine: kit verify --engine server, or ServerEngine() in a test"

COMMANDS: Final = {
    "schedule_local_activity": "a local activity",
    "request_cancel_local_activity": "a local activity",
    "schedule_nexus_operation": "a Nexus operation",
    "request_cancel_nexus_operation": "a Nexus operation",
}
"""Commands of workflow code, by their name in the bridge, in words."""

_OPTIONS: Final = {
    "schedule_activity": ("versioning_intent",),
    "start_child_workflow_execution": ("cron_schedule", "retry_policy", "versioning_intent", "versioning_override"),
    "continue_as_new_workflow_execution": ("retry_policy", "versioning_intent", "initial_versioning_behavior"),
}
"""Options of commands that the simulation would ignore."""


def refused(what: str, *, fix: str = ON_THE_SERVER) -> UnsupportedScenario:
    """The error that says what is not simulated."""
    return UnsupportedScenario(f"{what} is not simulated. Fix: {fix}")


def check(variant: str, command: Any) -> None:
    """Look at a command of workflow code, before it is carried out.

    Raises:
        UnsupportedScenario: It, or an option of it, is not simulated.
    """
    if variant in COMMANDS:
        raise refused(f"{COMMANDS[variant]} ({_named(variant, command)})")
    for option in _OPTIONS.get(variant, ()):
        asked = getattr(command, variant)
        field = asked.DESCRIPTOR.fields_by_name[option]
        given = asked.HasField(option) if field.message_type is not None else bool(getattr(asked, option))
        if given:
            raise refused(f"the option {option!r} of {_named(variant, command)}")


def _named(variant: str, command: Any) -> str:
    """The command in a person's words, such as ``schedule activity 'payments.capture'``."""
    asked = getattr(command, variant)
    names = (getattr(asked, name, "") for name in ("activity_type", "workflow_type", "operation"))
    name = next((name for name in names if name), "")
    return variant.replace("_", " ") + (f" {name!r}" if name else "")
