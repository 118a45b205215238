"""Holding the count of a graph against PyTorch's own counter, and saying where they part.

What an export changes on purpose changes the count: norms vanish into convolutions, three kernels
become one. So the difference is followed down the modules that both sides know, to those that only
one has, and told with the rewrite that does so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgepose.bench.cost.figures import Cost

__all__ = ["Check", "Difference", "check"]

# Parts of a graph that no PyTorch model has: edgepose.export.fold_io.
_FOLDED_IO = {"normalise": "preprocessing in the graph", "decode": "decoding in the graph"}
# Rewrites of edgepose.export.rewrites that change counts, by the class that they look for.
_BY_CLASS = {
    "GRN": "grn",
    "KeypointTokens": "tokens",
    "LayerScale": "layerscale",
    "Local": "local",
    "MapEncoder": "sine",
    "TwinEncoder": "twin",
}
_NORMS = frozenset({"BatchNorm1d", "BatchNorm2d"})
_TAKES_NORMS = frozenset({"Conv2d", "ConvTranspose2d", "Linear"})
_NORM_FOLDED = "norms folded into the convolutions beside them"
# As edgepose.export.precision.balance names what it adds.
_BALANCE = "Mul_balance_"
_BALANCED = "channels brought to one size before they are rounded to eight bits"
_ZERO_BIAS = "biases that are all zero, as fresh ones are, left out"


@dataclass(frozen=True)
class Difference:
    """What the graph has more than PyTorch's model, in one module.

    Attributes:
        path: Of the module.
        kind: Its class; empty where PyTorch's model has none there.
        macs: Multiply-adds, for one person.
        params: Parameters.
        why: What explains it; None where nothing known does.
    """

    path: str
    kind: str
    macs: int
    params: int
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """A graph beside the model that it was made from.

    Attributes:
        model: ``model@HxW``.
        torch_gmacs: What PyTorch's counter finds.
        torch_params: Likewise.
        differences: Where the graph has more or fewer.
        unnamed: Whether part of the graph is of no known module, so that places are unsure.
    """

    model: str
    torch_gmacs: float
    torch_params: int
    differences: tuple[Difference, ...]
    unnamed: bool = False

    def __bool__(self) -> bool:
        """Whether all of it is explained."""
        return all(difference.why for difference in self.differences)

    def sentences(self) -> list[str]:
        """For people: the verdict first, then a sentence for every reason."""
        macs = sum(d.macs for d in self.differences)
        params = sum(d.params for d in self.differences)
        found = f"{self.torch_gmacs:.4f} GMACs and {self.torch_params:,} parameters"
        counter = f"PyTorch's counter finds {found} in {self.model}"
        if not self.differences:
            return [f"{counter}: so does this count of the graph."]
        told = [f"{counter}; the graph has {_more(macs, params)}."]
        groups: dict[str | None, list[Difference]] = {}
        for difference in self.differences:
            groups.setdefault(difference.why, []).append(difference)
        for why, members in groups.items():
            amount = _more(sum(d.macs for d in members), sum(d.params for d in members))
            first = members[0]
            place = first.path + (f" ({first.kind})" if first.kind else "") or "the model itself"
            where = (
                f"in {place}" if len(members) == 1 else f"in {len(members)} places, such as {place}"
            )
            told.append(f"{amount} {where}: {why or _unexplained(self.unnamed)}.")
        return told


def check(graph: Cost, torch: Cost) -> Check:
    """Compare.

    Args:
        graph: Of an ONNX file.
        torch: Of the registry model that it says it is.
    """
    balance = [layer for layer in graph.layers if layer.name.startswith(_BALANCE)]
    rest = replace(graph, layers=tuple(layer for layer in graph.layers if layer not in balance))
    scaled = [Difference(b.path or "", b.kind or "", 0, b.params, _BALANCED) for b in balance]
    return Check(
        model=torch.model or "",
        torch_gmacs=torch.gmacs,
        torch_params=torch.params,
        differences=(*_Sides(rest, torch).differences(), *scaled),
        unnamed=any(layer.path is None for layer in graph.layers),
    )


_Amount = tuple[int, int]
_NOTHING: _Amount = (0, 0)


class _Sides:
    """Both counts by module, with all that lies below it."""

    def __init__(self, graph: Cost, torch: Cost) -> None:
        self.kinds = torch.kinds
        self.norms = not _NORMS.isdisjoint(torch.kinds.values())
        # A bias has a number for each channel of the output.
        self.channels = {
            layer.path: layer.shape[-1 if layer.op == "Linear" else 1]
            for layer in torch.layers
            if layer.path and layer.shape is not None and layer.op in _TAKES_NORMS
        }
        self.applied = graph.rewrites
        self.effects = _effects()
        self.graph = _by_module(graph)
        self.torch = _by_module(torch)
        self.children: dict[str, set[str]] = {}
        for path in {*self.graph, *self.torch} - {""}:
            self.children.setdefault(path.rpartition(".")[0], set()).add(path)

    def differences(self, path: str = "") -> Iterator[Difference]:
        """Those in a module and below, by reason."""
        if self._difference(path) == _NOTHING:
            return
        apart: dict[str | None, list[tuple[str, _Amount]]] = {}
        macs, params = self._difference(path)
        for child in sorted(self.children.get(path, ())):
            amount = self._difference(child)
            macs, params = macs - amount[0], params - amount[1]
            if child in self.graph and child in self.torch:
                yield from self.differences(child)
            else:
                apart.setdefault(self._why(child, amount), []).append((child, amount))
        own = (macs, params)
        if own != _NOTHING:
            apart.setdefault(self._why(path, own), []).append((path, own))
        for why, members in apart.items():
            total = (sum(a[0] for _, a in members), sum(a[1] for _, a in members))
            if total != _NOTHING:  # else the same under other names
                place = members[0][0] if len(members) == 1 else path
                yield Difference(place, self.kinds.get(place, ""), *total, why)

    def _difference(self, path: str) -> _Amount:
        ours, theirs = self.graph.get(path, _NOTHING), self.torch.get(path, _NOTHING)
        return ours[0] - theirs[0], ours[1] - theirs[1]

    def _why(self, path: str, amount: _Amount) -> str | None:
        if path in _FOLDED_IO and path not in self.kinds:
            return _FOLDED_IO[path]
        kind = self.kinds.get(path)
        if kind in _NORMS:
            return _NORM_FOLDED
        if kind in _TAKES_NORMS and abs(amount[1]) == self.channels.get(path) and not amount[0]:
            if amount[1] < 0:
                return _ZERO_BIAS
            if self.norms:
                return _NORM_FOLDED
        while True:
            name = _BY_CLASS.get(self.kinds.get(path, ""))
            if name is not None and (self.applied is None or name in self.applied):
                return self.effects[name]
            if not path:
                return None
            path = path.rpartition(".")[0]


def _effects() -> Mapping[str, str]:
    from edgepose.export.rewrites import REWRITES

    return {rewrite.name: rewrite.effect for rewrite in REWRITES}


def _by_module(cost: Cost) -> dict[str, _Amount]:
    """Multiply-adds and parameters of every module, all below it included."""
    macs: dict[str, float] = {}
    params: dict[str, int] = {}
    for layer in cost.layers:
        parts = layer.path.split(".") if layer.path else []
        for depth in range(len(parts) + 1):
            path = ".".join(parts[:depth])
            macs[path] = macs.get(path, 0) + layer.macs
            params[path] = params.get(path, 0) + layer.params
    # Batches larger than one leave fractions.
    return {path: (round(macs[path]), params[path]) for path in macs}


def _more(macs: int, params: int) -> str:
    """``0.0093 GMACs more and 9,824 parameters fewer``."""
    parts = []
    if macs:
        parts.append(f"{abs(macs) / 1e9:.4f} GMACs {'more' if macs > 0 else 'fewer'}")
    if params:
        parts.append(f"{abs(params):,} parameters {'more' if params > 0 else 'fewer'}")
    return " and ".join(parts) or "as many"


def _unexplained(unnamed: bool) -> str:
    if unnamed:
        return "nodes that name no module, so that the place is unsure"
    return "for a reason that no known rewrite gives"
