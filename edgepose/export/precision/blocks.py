"""The operations of a graph in blocks, by the modules that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from edgepose.export.lint.origin import origin_of
from edgepose.export.precision.plan import Site

__all__ = ["blocks_of"]

_WANTED = 16
_MOST = 30

Path = tuple[str, ...]


def blocks_of(sites: Sequence[Site]) -> dict[str, tuple[str, ...]]:
    """Some 16 blocks, 30 at most, of whole modules; large modules are divided into their parts.

    Where neither nodes nor weights tell modules, blocks are equal runs of the graph's order.

    Returns:
        Block -> names of its operations, in the order of the graph.
    """
    paths = [_path(site) for site in sites]
    if not sites or not all(paths):
        return _runs(sites)
    groups: dict[Path, list[int]] = {(): list(range(len(sites)))}
    whole: set[Path] = set()
    while len(groups) < _WANTED:
        divisible = [key for key in groups if key not in whole and len(groups[key]) > 1]
        if not divisible:
            break
        largest = max(divisible, key=lambda key: len(groups[key]))
        parts: dict[Path, list[int]] = {}
        for index in groups[largest]:
            parts.setdefault(paths[index][: len(largest) + 1], []).append(index)
        if list(parts) == [largest] or len(groups) - 1 + len(parts) > _MOST:
            whole.add(largest)
            continue
        del groups[largest]
        # Operations of the module itself stay under its own name.
        groups.update(parts)
        whole |= {key for key in parts if key == largest}
    ordered = sorted(groups.items(), key=lambda group: group[1][0])
    return {
        ".".join(key) or "the model": tuple(sites[index].name for index in indices)
        for key, indices in ordered
    }


def _path(site: Site) -> Path:
    """The module's path: of the node's name, else of its weight's."""
    origin = origin_of(site.name)
    if origin is not None:
        return tuple(origin.path.split("."))
    *module, _ = site.weight.split(".")
    return tuple(module)


def _runs(sites: Sequence[Site]) -> dict[str, tuple[str, ...]]:
    count = min(_WANTED, len(sites))
    edges = [len(sites) * n // max(1, count) for n in range(count + 1)]
    return {
        f"operations {start + 1} to {end}": tuple(s.name for s in sites[start:end])
        for start, end in itertools.pairwise(edges)
    }
