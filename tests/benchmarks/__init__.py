"""The kit beside what one would write without it: a command, ``python -m tests.benchmarks``.

Measurements, not tests: how fast a machine is says nothing about whether the code is right. What is equal on every
machine (events, activities and timers of a history) is checked whenever the command runs.
"""
