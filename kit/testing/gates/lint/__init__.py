"""Static checks of workflow and connector sources: what can be seen to be unsafe without running it."""

from kit.testing.gates.lint.findings import Finding, Rule
from kit.testing.gates.lint.linting import RULES, Report, lint

__all__ = ["RULES", "Finding", "Report", "Rule", "lint"]
