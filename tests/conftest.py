"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before torch is imported anywhere: its threads otherwise spin while they wait for a core that
# something else is using, which makes some tests thirty times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts what it puts into the background deaf to Ctrl-C, and so would be what the tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPO_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; tests that need it skip where it is absent."""
    folder = REPO_ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the data folder {folder}, which is not part of the project")
    return folder
