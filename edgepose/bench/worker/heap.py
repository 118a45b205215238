"""A heap that keeps what it has: the same work then takes the same time in every process.

glibc gives freed memory back to the system, and takes every large block from it anew: each page is
then faulted in once more. How often depends on where a process's blocks happen to lie. PyTorch,
which asks for each activation separately, took 34 to 60 ms for the same four people from one
process to the next, up to a third of it in the kernel; with a heap that keeps its memory 34 to 38.
onnxruntime keeps its own, and is not touched.
"""

from __future__ import annotations

__all__ = ["KEPT_HEAP", "KEPT_HEAP_WORDS"]

KEPT_HEAP = {
    "MALLOC_MMAP_MAX_": "0",  # no block straight from the system, however large
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),  # nothing back to it
    "MALLOC_TOP_PAD_": str(64 << 20),  # and asked for in large pieces
}
KEPT_HEAP_WORDS = (
    "timed processes keep what they free (glibc: no mmap, no trimming), so that their times do not "
    "depend on where blocks lie; memory is measured in others, which do not"
)
