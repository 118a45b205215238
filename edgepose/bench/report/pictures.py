"""Pictures beside records, put into the page itself."""

from __future__ import annotations

import base64
from pathlib import Path

__all__ = ["data_uri"]

_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


def data_uri(folder: Path | None, name: str | None) -> str | None:
    """A picture as a ``data:`` address; None where it is not there.

    A record may come from anywhere: only JPEG and PNG files inside the folder, or inside
    its ``pictures/``, are read.
    """
    if folder is None or not name:
        return None
    for root in (folder.resolve(), folder.resolve() / "pictures"):
        path = (root / name).resolve()
        kind = _KINDS.get(path.suffix.lower())
        if kind is not None and path.is_relative_to(root) and path.is_file():
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return None
