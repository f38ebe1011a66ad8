"""How a command that ran a Temporal client or worker leaves."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit code and no other.

    The teardown of an interpreter that ran a worker aborts now and then (``PyGILState_Release``, exit code 134,
    sdk-python#300), which would make a failure of a success. So what was printed is flushed and the teardown left
    out: everything that must be closed has to be closed before.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the reader of a pipe has gone: nobody is left to tell
            code = code or 1
    os._exit(code)
