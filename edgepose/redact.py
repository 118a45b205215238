"""Keeping camera credentials out of everything that is printed or stored."""

from __future__ import annotations

import re

__all__ = ["redact"]

# The second form is a password with an unescaped slash, which people do type. It also catches
# http://host:80/name@2x.jpg: better a host too few than a password too many. One slash is a typo
# that error messages would otherwise repeat.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2})(?:[^/\s]*|[^/\s:]*:\S*)@")
# Cameras take credentials as query values, as path pieces and joined by underscores.
_SECRET_VALUE = re.compile(
    r"(?P<key>(?<=[?&;/_])"
    r"(?:[\w-]*(?:user|usr|login|pass|pwd|token|auth|secret)[\w-]*|[\w-]*(?:key|sig|signature))=)"
    r"(?:(?!_[a-zA-Z]+=)[^&;\s])*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` with the user part of URLs and secret query values replaced by ``***``.

    >>> redact("rtsp://admin:hunter2@cam.local/live?token=abc&x=1")
    'rtsp://***@cam.local/live?token=***&x=1'
    """
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _SECRET_VALUE.sub(r"\g<key>***", text)
