"""Fixtures of the doctor's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose import zoo


@pytest.fixture(autouse=True)
def no_zoo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines without weights: their digests take longer than all else here together."""
    empty: Path = tmp_path_factory.getbasetemp()
    monkeypatch.setattr(zoo, "zoo_folder", lambda: empty)
