"""One page, made once: drawing takes seconds."""

from __future__ import annotations

import pytest

from edgepose.bench.report import html
from tests.bench.artefacts import failed, records


@pytest.fixture(scope="session")
def whole() -> str:
    """The page of everything, with an artefact that failed."""
    return html([*records(), failed()])
