"""A heap that keeps what it has: the same work then takes the same time in every process.

glibc gives freed memory back to the system, and takes every large block from it anew: each page is
then faulted in once more. How often depends on where a process's blocks happen to lie. PyTorch asks
for every activation separately, so that its times differ from process to process; onnxruntime keeps
memory of its own and does not care.
"""

from __future__ import annotations

import platform
import sys

__all__ = ["KEPT_HEAP", "keeps_heap", "kept_heap_words"]

# All three: the first alone gains nothing, since the heap is then trimmed at its end instead.
# Of the main thread, in which artefacts run; other threads' heaps end at 64 MiB.
KEPT_HEAP = {
    "MALLOC_MMAP_MAX_": "0",  # no block straight from the system, however large
    "MALLOC_TRIM_THRESHOLD_": str(sys.maxsize),  # nothing back to it
    "MALLOC_TOP_PAD_": str(64 << 20),  # and asked for in large pieces
}


def keeps_heap() -> bool:
    """Whether this system's allocator heeds :data:`KEPT_HEAP`: glibc's does."""
    return platform.libc_ver()[0] == "glibc"


def kept_heap_words(asked: bool) -> str | None:
    """What a process that was asked to keep its heap says of it; None if it was not asked.

    Args:
        asked: Whether it was started with :data:`KEPT_HEAP`.
    """
    if not asked:
        return None
    if not keeps_heap():
        return "as the system has it: only glibc's can be told to keep what is freed"
    return "kept: memory that was freed is not given back; memory is measured in other processes"
