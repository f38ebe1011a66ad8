"""The reference cancellation, end to end: real connectors, providers on real sockets, a real server that skips time."""
