"""What is still open in a service: the tasks that wait for people, and the holds that are on."""

from __future__ import annotations

from typing import Final

from kit.contract import Hold, Model

FIND_OPEN_ACTIVITY: Final = "kit.find_open_work"
"""Name of the activity that finds it."""


class OpenTask(Model):
    """A task that waits for a person."""

    workflow_id: str
    workflow_type: str
    task_id: str


class FindOpen(Model):
    """Ask what is still open in the service."""


class OpenWork(Model):
    """What is still open.

    Attributes:
        tasks: The tasks that wait for a person, of runs on the service's task queue, as visibility knows them (a second
            or so late).
        more: Whether there are more of them than are listed.
        holds: The holds that are on.
    """

    tasks: tuple[OpenTask, ...] = ()
    more: bool = False
    holds: tuple[Hold, ...] = ()
