"""The demo's first word, said before everything it needs is loaded."""

from __future__ import annotations

import sys


async def main(*, once: bool, json: bool) -> int:
    """Run the demo; see `temporal.demo.run`."""
    if sys.stderr.isatty():
        print("Starting a Temporal server, the providers and a worker ...", file=sys.stderr)
    from temporal.demo.run import run  # noqa: PLC0415 - takes seconds, in which nobody would know what is going on

    return await run(once=once, json=json)
