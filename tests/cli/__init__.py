"""Tests of the `kit` command."""
