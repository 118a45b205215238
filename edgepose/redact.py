"""Keeping camera credentials out of everything that is printed or stored."""

from __future__ import annotations

import re

__all__ = ["redact"]

# The second form is a password with an unescaped slash, which people do type. It also catches
# http://host:80/name@2x.jpg: better a host too few than a password too many.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^/\s]*|[^/\s:]*:\S*)@")
_SECRET_QUERY = re.compile(
    r"(?P<key>[?&;](?:user(?:name)?|usr|pass(?:word|wd)?|pwd|token|auth|key|secret|sig(?:nature)?)=)"
    r"[^&;\s]*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` with the user part of URLs and secret query values replaced by ``***``.

    >>> redact("rtsp://admin:hunter2@cam.local/live?token=abc&x=1")
    'rtsp://***@cam.local/live?token=***&x=1'
    """
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _SECRET_QUERY.sub(r"\g<key>***", text)
