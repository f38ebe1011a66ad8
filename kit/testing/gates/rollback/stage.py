"""Where runs of two versions meet: external systems that the workers of both can reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

from kit.testing.runs import Ending


class Stage(ABC):
    """The external systems of a service, on sockets and in files, and the runs that are played on them.

    A run begins with the worker of one version and ends with the worker of the other. Both are processes of their own,
    so a world in memory is not enough: the stage runs providers on real sockets (`kit.testing.sandbox`), keeps
    databases in files, and tells the workers by environment variables where they are.

    ``[tool.kit] rollback = "module:attribute"`` names the service's stage, an object of a subclass.

    Attributes:
        scenarios: What its runs go through, by name, and the workflow class of each.
    """

    scenarios: ClassVar[Mapping[str, type]]

    @abstractmethod
    def request(self, scenario: str, number: int) -> Any:
        """The argument of one run. Pure: it is also called in the process of the other version.

        Args:
            scenario: What it goes through.
            number: Its number, from 1: unique in one check, so that runs, some of them at the same time, do not meet.
        """

    @abstractmethod
    def open(self, folder: Path) -> AbstractAsyncContextManager[Mapping[str, str]]:
        """Run the external systems until the block is left; gives the environment of the service's workers.

        Args:
            folder: For databases; empty at first.
        """

    async def prepare(self, scenario: str, number: int) -> None:  # noqa: B027 - many a run needs nothing
        """Bring everything into the state before one run: an open cart, a fault for this run alone."""

    @abstractmethod
    async def check(self, scenario: str, number: int, ending: Ending) -> Iterable[str]:
        """What is wrong after one run, by the external systems' own records: a sentence each.

        Args:
            scenario: What it went through.
            number: Which run.
            ending: How it ended. ``STUCK`` and ``PARKED`` are open: nothing may be there twice, all else may come.
        """
