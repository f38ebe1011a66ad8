"""The demo: orders through success and partial failure, and what every external system saw of each.

A Temporal server with Web UI, sandbox providers on real sockets, and a worker in a process of its own, which is killed
in the middle of a charge. The verdict is drawn from the providers' own records, and from nothing the kit believes.
"""

from temporal.demo.entry import main

__all__ = ["main"]
