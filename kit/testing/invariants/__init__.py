"""What must hold after every scenario, whatever the workflow: the built-in invariants, and who asks them."""

from kit.testing.invariants.built_in import BUILT_IN
from kit.testing.invariants.case import BuiltIn
from kit.testing.invariants.judging import judge

__all__ = ["BUILT_IN", "BuiltIn", "judge"]
