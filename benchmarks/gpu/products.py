"""Which TensorRT products are on this machine; asked in child processes, which they may crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgepose.doctor.asking import Answer, ask_child

__all__ = ["Products", "find_products"]

_QUESTIONS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True)
class Products:
    """What was found.

    Attributes:
        versions: Product -> version, of those that load.
        absent: Product -> why it is not here, of the others.
    """

    versions: dict[str, str]
    absent: dict[str, str]


def find_products(ask: Callable[[str], Answer] = ask_child) -> Products:
    """Look for TensorRT and TensorRT-RTX."""
    found = Products({}, {})
    for product, question in _QUESTIONS.items():
        answer = ask(question)
        if answer.facts:
            found.versions[product] = str(answer.facts["version"])
        else:
            found.absent[product] = answer.error
    return found
