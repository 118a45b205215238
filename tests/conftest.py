"""Fixtures that every part of the tests may use."""

from __future__ import annotations

from pathlib import Path

import pytest

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
