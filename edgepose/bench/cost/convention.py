"""What is counted and what is not, in the words that records and reports repeat."""

from __future__ import annotations

__all__ = ["CONVENTION", "CPU_ROOF", "GPU_ROOF", "PEAK", "TORCH_PEAK"]

CONVENTION = (
    "GMACs: 10^9 multiply-adds of convolutions, linear layers and matrix products, for one person; "
    "zeros of the padding are multiplied too; biases, norms, activations, softmax, resizing and "
    "quantisation count nothing, and neither does what is constant and folded at load. One "
    "multiply-add is two FLOPs. Parameters: the numbers that the graph computes with, without the "
    "statistics of norms, the scales of quantisation, single constants, sizes and indices; weights "
    "in eight bits count as numbers."
)

PEAK = (
    "Activation peak: at the worst node, the bytes of all tensors that are still to be read or "
    "being written, input and output of the graph included, weights and the working memory of "
    "kernels not. Reshapes cost nothing, elementwise operators write over an input that nobody "
    "reads later, and what lies between two kernels that compute in eight bits is held in them."
)

TORCH_PEAK = (
    "Activation peak: the most that tensors hold at once while PyTorch runs the model operator by "
    "operator, as its memory is freed, weights not counted."
)

CPU_ROOF = (
    "The fastest FP32 product of square matrices seen here; INT8 kernels, and convolutions by "
    "other algorithms, may exceed it"
)

GPU_ROOF = (
    "The fastest product of square matrices seen here; smaller numbers, sparsity and convolutions "
    "by other algorithms may exceed it"
)
