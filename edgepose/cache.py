"""Where a user's caches lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgepose.errors import OutputError

__all__ = ["user_cache"]


def user_cache(*parts: str) -> Path:
    """A folder in ``$XDG_CACHE_HOME/edgepose`` or ``~/.cache/edgepose``, made if need be.

    It is for things that are loaded and run again, such as engines, so it is the user's alone.

    Raises:
        OutputError: There is no home, it cannot be written, or others can write the folder.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME")
        root = Path(base) if base else Path.home() / ".cache"
        folder = root.joinpath("edgepose", *parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except (OSError, RuntimeError) as error:
        raise OutputError(
            "there is no folder for the cache",
            str(error),
            "set XDG_CACHE_HOME to a folder of your own",
        ) from error
    if sys.platform != "win32" and (facts.st_uid != os.getuid() or facts.st_mode & 0o022):
        raise OutputError(
            f"the cache {folder} cannot be trusted",
            "other users can write it, and what lies there is loaded as code",
            f"chmod go-w {folder}, or set XDG_CACHE_HOME to a folder of your own",
        )
    return folder
