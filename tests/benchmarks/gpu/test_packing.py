"""Packing gives every byte back, and packs numbers with empty bytes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gpu.packing import pack, unpack


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1001, 40_003])
def test_every_byte_comes_back(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    width, packed = pack(data)
    assert unpack(packed, width) == data


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_rounded_weights_get_smaller(kind: type) -> None:
    weights = np.random.default_rng(0).normal(0, 0.1, 50_000).astype(np.float16).astype(kind)
    width, packed = pack(weights.tobytes())
    assert width == weights.itemsize
    assert len(packed) < {4: 0.72, 2: 0.95}[width] * weights.nbytes
    assert unpack(packed, width) == weights.tobytes()


def test_damage_is_an_error() -> None:
    width, packed = pack(b"abcd" * 100)
    with pytest.raises(ValueError, match=r"."):
        unpack(packed[: len(packed) // 2], width)
