"""Replays histories in the SDK's own Replayer and writes down what the code asks for and what it reads.

The package imports nothing but the SDK and pydantic when it is loaded, and its own modules relative to itself:
`kit rollback-check` copies it beside another version of a service, whose kit may not have it.
"""

from .asks import Activity, Ask, recorded
from .differences import MISSING, Difference, compare
from .reading import Reading
from .watch import Task, Watched, watch

__all__ = ["MISSING", "Activity", "Ask", "Difference", "Reading", "Task", "Watched", "compare", "recorded", "watch"]
