"""Lets tests and benchmarks import ``tests.support`` and ``benchmarks``, wherever pytest is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
