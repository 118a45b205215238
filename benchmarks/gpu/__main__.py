"""The command line: ``prepare`` and ``run``."""

from __future__ import annotations

import sys

from benchmarks.gpu.cli import main

if __name__ == "__main__":
    sys.exit(main())
