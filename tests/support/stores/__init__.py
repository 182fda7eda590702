"""Stores for tests: one in memory with faults, and servers of the real engines."""
