"""Reconciliations, on the real server that skips time, against systems that were broken on purpose."""
