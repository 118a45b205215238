"""The section of a record that tells of the conditions."""

from __future__ import annotations

import os
from typing import Any, Literal

from edgepose.bench.conditions.compare import compare_conditions

__all__ = ["conditions_section"]


def conditions_section(
    before: dict[str, Any], after: dict[str, Any], threads: int | Literal["default"]
) -> dict[str, Any]:
    """The record's section ``conditions``.

    Args:
        before: :func:`~edgepose.bench.conditions.snapshot` before the measurement.
        after: The same after it.
        threads: What the contenders were told to take.

    Returns:
        Both, what slowed the machine down between them, and what this process (and so its
        children) may use: cores and priority.
    """
    return {
        "before": before,
        "after": after,
        **compare_conditions(before, after),
        "threads": threads,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "niceness": os.nice(0) if hasattr(os, "nice") else None,
        "load_before": before["load"][0] if before["load"] else None,
        "load_after": after["load"][0] if after["load"] else None,
    }
