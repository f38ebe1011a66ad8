"""Reference workflows: one per file. They import the kit and the contracts of activities only."""
