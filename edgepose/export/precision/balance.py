"""Channels of very different size, brought to one before they share a scale.

Behind GRN, or where CRU weighs channels by a softmax, one channel may be a thousand times as large
as the others. One scale for all of them then leaves nothing of the small ones. So each channel is
divided by its own largest magnitude, and the weights that it is multiplied with take that factor
over, where each output channel has a scale of its own. The factors are powers of two: in floating
point every product is the same as before, to the last bit.

The idea is SmoothQuant's (Xiao et al., ICML 2023) with all of the difficulty moved to the weights.
The division is a product of its own in the graph, which runtimes fuse with the operation before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgepose.export.precision.plan import Site
from edgepose.export.precision.rebuilt import rebuilt
from edgepose.export.precision.session import read_weight

__all__ = ["balanced", "balanced_name"]

# A channel that is smaller yet by more is nothing beside the others, and its factor would not be a
# number in FP16.
_LEAST_SHARE = 2.0**-12


def balanced_name(data: str) -> str:
    """Name of an activation once its channels are of one size."""
    return f"{data}_balanced"


def balanced(
    model: onnx.ModelProto, sites: Iterable[Site], peaks: Mapping[str, npt.NDArray[np.float32]]
) -> onnx.ModelProto:
    """A copy of a float graph that computes the same.

    Args:
        model: The graph; it stays as it is.
        sites: Its weighted operations.
        peaks: (C,) largest magnitudes of the channels of the activations to be balanced.
    """
    factors = {name: _factors(values) for name, values in peaks.items()}
    chosen = {site.name: site for site in sites if site.data in factors}
    weights = {w.name: w for w in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    for original in model.graph.node:
        site = chosen.get(original.name)
        if site is None:
            nodes.append(original)
            continue
        division = f"{balanced_name(site.data)}_factors"
        if division not in constants:  # in front of its first reader
            constants[division] = numpy_helper.from_array(
                _along(site, np.reciprocal(factors[site.data])), division
            )
            nodes.append(_product(site, division))
        name = f"{site.weight}_balanced{len(nodes)}"
        scaled = site.scaled(read_weight(weights[site.weight]), factors[site.data])
        constants[name] = numpy_helper.from_array(scaled, name)
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.input[0], node.input[1] = balanced_name(site.data), name
        nodes.append(node)
    return rebuilt(model, nodes, constants.values())


def _factors(peaks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Powers of two, near the channels' largest magnitudes."""
    largest = float(peaks.max()) or 1.0
    exponents = np.rint(np.log2(np.maximum(peaks, largest * _LEAST_SHARE)))
    return np.exp2(exponents).astype(np.float32)


def _along(site: Site, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(C,) values in the shape that meets the channels of a site's data."""
    return values.reshape([-1, 1, 1] if site.channels == 1 else [-1])  # of (B, C, h, w), (..., C)


def _product(site: Site, factors: str) -> onnx.NodeProto:
    module, slash, short = site.name.rpartition("/")
    return helper.make_node(
        "Mul",
        [site.data, factors],
        [balanced_name(site.data)],
        name=f"{module}{slash}Mul_balance_{short}",
    )
