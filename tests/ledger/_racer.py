"""A worker process for `test_processes`: claims and completes keys of a shared file, and says what it was told.

Prints one line per answer, after the ledger has given it: whoever reads the line may rely on the row.
"""

import asyncio
import sys

from kit.ledger import Claimed, Settled, SqliteLedger
from tests.ledger._commands import claim, complete


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(path: str, owner: str, keys: int) -> None:
    """Race for every key, eight at a time."""
    async with SqliteLedger(path) as ledger:
        say("ready")
        sys.stdin.readline()
        todo = iter(range(keys))

        async def worker() -> None:
            for n in todo:
                claimed = await ledger.apply(claim(f"k{n}", owner))
                if not isinstance(claimed, Claimed):
                    continue
                say(f"claimed k{n}")
                done = await ledger.apply(complete(f"k{n}", owner), expected=claimed.entry)
                assert isinstance(done, Settled)
                say(f"done k{n}")

        await asyncio.gather(*(worker() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
