"""Tests of the kit and of the reference service: one folder per room."""
