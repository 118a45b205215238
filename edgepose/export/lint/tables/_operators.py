"""How a table is written down."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["operators"]


def operators(groups: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Operators by name from groups of the same types, both separated by spaces.

    Raises:
        ValueError: An operator stands in two groups.
    """
    table: dict[str, frozenset[str]] = {}
    for types, names in groups.items():
        for name in names.split():
            if name in table:
                raise ValueError(f"{name} stands in the table twice")
            table[name] = frozenset(types.split())
    return table
