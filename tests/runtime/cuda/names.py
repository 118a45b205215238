"""Names of the CUDA bindings that edgepose uses, with the versions they were seen in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("names.json").read_text())
