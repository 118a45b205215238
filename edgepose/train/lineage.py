"""What weights have seen, they themselves and those that they began with."""

from __future__ import annotations

__all__ = ["lineage"]

_BEGUN = "; begun with weights trained on "


def lineage(*seen: str) -> str:
    """One sentence of several, each of which may be such a sentence; the latest comes first.

    What several phases have seen alike is told once.
    """
    phases = [phase for sentence in seen for phase in sentence.split(_BEGUN) if phase]
    return _BEGUN.join(dict.fromkeys(phases))
