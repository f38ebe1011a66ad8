"""Seeded faults in copies of the reference workflow, its connectors, contracts and ledger, and what catches each."""
