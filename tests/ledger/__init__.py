"""The ledgers keep one set of rules, durably."""
