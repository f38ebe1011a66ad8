"""Tests of contracts: what is refused when they are built, and what they mean."""
