"""What an artefact costs on paper, and how far from the machine's roof it runs.

Multiply-adds, parameters and the activation peak are counted on the ONNX graph that is deployed
and held against PyTorch's counter; see :data:`CONVENTION` for what counts.
"""

from __future__ import annotations

from edgepose.bench.cost.checking import Check, Difference, check
from edgepose.bench.cost.convention import CONVENTION
from edgepose.bench.cost.figures import Cost, Layer, Uncounted
from edgepose.bench.cost.roof import roof
from edgepose.bench.cost.section import Source, cost_section
from edgepose.bench.cost.sources import engine_cost, onnx_cost, torch_cost

__all__ = [
    "CONVENTION",
    "Check",
    "Cost",
    "Difference",
    "Layer",
    "Source",
    "Uncounted",
    "check",
    "cost_section",
    "engine_cost",
    "onnx_cost",
    "roof",
    "torch_cost",
]
