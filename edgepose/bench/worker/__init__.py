"""One process per artefact: memory, crashes and thread pools that concern nobody else.

:class:`Worker` starts it and asks it; :mod:`edgepose.bench.worker.child` is what runs there. The
names are loaded when they are used: what the child imports counts as the artefact's neighbours.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepose.bench.worker.client import Worker
    from edgepose.bench.worker.request import Kind, Opened, Request, Sustained, Warmed

__all__ = ["Kind", "Opened", "Request", "Sustained", "Warmed", "Worker"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        part = "client" if name == "Worker" else "request"
        return getattr(import_module(f"edgepose.bench.worker.{part}"), name)
    raise AttributeError(f"module 'edgepose.bench.worker' has no attribute '{name}'")
