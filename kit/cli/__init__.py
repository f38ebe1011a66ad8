"""The `kit` command: runs the demo and the worker of the service it is started in, and looks after ledgers."""

from kit.cli.main import main

__all__ = ["main"]
