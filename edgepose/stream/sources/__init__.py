"""Where frames come from: a :class:`Source`, made by :func:`open_source`."""

from edgepose.stream.sources.base import Source
from edgepose.stream.sources.opening import open_source

__all__ = ["Source", "open_source"]
