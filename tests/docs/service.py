"""The smallest service that lets operators in, for the commands of the pages."""

from __future__ import annotations

from pathlib import Path

CODE = """
from contextlib import asynccontextmanager
from temporalio.client import Client
from kit.ledger import MemoryLedger
from kit.operate import Operating
from kit.worker import ReliabilityPlugin

class App:
    async def work(self):
        return 0

    @asynccontextmanager
    async def operating(self):
        client = await Client.connect("{address}", plugins=[ReliabilityPlugin()])
        yield Operating(client=client, ledger=MemoryLedger(), task_queue="{queue}")

app = App()
"""


def write_service(folder: Path, *, address: str, queue: str) -> None:
    """Write a service into a folder. Its module is named like the folder, so that no other test's is found."""
    (folder / "pyproject.toml").write_text(f'[tool.kit]\napp = "{folder.name}:app"\n', encoding="utf-8")
    (folder / f"{folder.name}.py").write_text(CODE.format(address=address, queue=queue), encoding="utf-8")
