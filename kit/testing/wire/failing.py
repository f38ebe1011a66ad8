"""What the story says of an attempt that fails: why, and in which line of the service where nobody expected it."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from temporalio.activity import Info
from temporalio.exceptions import ApplicationError, FailureError

import kit
from kit.contract import FailureKind
from kit.contract.operation import UNDO_SUFFIX

_LONGEST: Final = 200
"""The most characters of a reason: a library's error may bring a page along."""

_NOT_THE_SERVICE: Final = (str(Path(kit.__file__).parent), "site-packages", "<")
"""Parts of file names that are nobody's own code."""


def told(info: Info, failure: FailureError) -> str:
    """Which attempt fails, and why, in one line."""
    reason = " ".join(failure.message.removeprefix(f"{info.activity_type.removesuffix(UNDO_SUFFIX)}: ").split())
    if len(reason) > _LONGEST:
        reason = reason[: _LONGEST - 2].rsplit(" ", 1)[0] + " …"
    return f"{info.activity_type}, attempt {info.attempt}, fails: {reason}{_where(failure)}"


def _where(failure: FailureError) -> str:
    """The last line of the service's own code that the error of a `bug` has passed."""
    if not isinstance(failure, ApplicationError) or not str(failure.type).endswith(f".{FailureKind.BUG.value}"):
        return ""
    own = [
        (frame.f_code.co_filename, line)
        for error in _chain(failure)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _of_service(frame.f_code.co_filename)
    ]
    if not own:
        return ""
    file, line = own[-1]
    return f" At {Path(file).name}:{line}: {linecache.getline(file, line).strip()}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_service(file: str) -> bool:
    return not any(part in file for part in _NOT_THE_SERVICE)
