"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is imported anywhere: its threads otherwise spin while they wait for a core that
# something else is using, which makes some tests thirty times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
