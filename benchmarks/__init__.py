"""The benchmarks: each module is a program, run as ``python -m benchmarks.lifecycle``."""
