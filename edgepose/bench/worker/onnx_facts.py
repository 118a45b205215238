"""What an ONNX file says of itself, without the onnx package: its precision and its record.

Reads just the tags of the file's protocol buffer (protobuf.dev/programming-guides/encoding) and
steps over the weights. Field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.spec import METADATA_KEY, RECORD_KEY

__all__ = ["OnnxFacts", "onnx_facts"]

_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_OP = 4
_TENSOR_TYPE, _FLOAT16 = 2, 10
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Span = tuple[int, int]


@dataclass(frozen=True)
class OnnxFacts:
    """What was found.

    Attributes:
        precision: ``fp32``, ``fp16``, ``int8`` or ``int8-fp16``, from weights and operators; None
            where the file is no ONNX file.
        record: What edgepose wrote of its making; None where nobody did.
        carries_spec: Whether it says how it is to be used.
    """

    precision: str | None
    record: dict[str, Any] | None
    carries_spec: bool


def onnx_facts(path: Path) -> OnnxFacts:
    """Read a file. One that cannot be read says nothing: whoever loads it tells why."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _facts(data)
    except (OSError, ValueError, IndexError):
        return OnnxFacts(None, None, carries_spec=False)


def _facts(data: mmap.mmap) -> OnnxFacts:
    quantised = halved = weighs = carries_spec = False
    record: dict[str, Any] | None = None
    for number, value in _fields(data, (0, len(data))):
        if number == _MODEL_METADATA and isinstance(value, tuple):
            entry = {n: data[v[0] : v[1]] for n, v in _fields(data, value) if isinstance(v, tuple)}
            carries_spec = carries_spec or entry.get(_ENTRY_KEY) == METADATA_KEY.encode()
            if entry.get(_ENTRY_KEY) == RECORD_KEY.encode():
                found = json.loads(entry.get(_ENTRY_VALUE, b"null"))
                record = found if isinstance(found, dict) else None
        elif number == _MODEL_GRAPH and isinstance(value, tuple):
            for kind, part in _fields(data, value):
                if not isinstance(part, tuple):
                    continue
                if kind == _GRAPH_NODE:
                    quantised = quantised or _operator(data, part).startswith(_QUANTISED)
                elif kind == _GRAPH_INITIALIZER:
                    weighs = True
                    halved = halved or _type(data, part) == _FLOAT16
    if not weighs:
        return OnnxFacts(None, record, carries_spec)
    precision = "-".join(["int8"] * quantised + ["fp16"] * halved) or "fp32"
    return OnnxFacts(precision, record, carries_spec)


def _operator(data: mmap.mmap, node: _Span) -> str:
    for number, value in _fields(data, node):
        if number == _NODE_OP and isinstance(value, tuple):
            return data[value[0] : value[1]].decode()
    return ""


def _type(data: mmap.mmap, tensor: _Span) -> int | None:
    for number, value in _fields(data, tensor):
        if number == _TENSOR_TYPE and isinstance(value, int):
            return value
    return None


def _fields(data: mmap.mmap, span: _Span) -> Iterator[tuple[int, int | _Span]]:
    """Number and value of each field; of what has a length, where it begins and ends.

    Raises:
        ValueError: This is no protocol buffer.
        IndexError: It ends too early.
    """
    place, end = span
    while place < end:
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value: int | _Span
        if wire == _VARINT:
            value, place = _varint(data, place)
        elif wire == _BYTES:
            length, place = _varint(data, place)
            value = (place, place + length)
            place += length
        elif wire in (_FIXED32, _FIXED64):
            value = (place, place + (4 if wire == _FIXED32 else 8))
            place = value[1]
        else:
            raise ValueError(f"wire type {wire}")
        if place > end:
            raise IndexError(f"a field ends at {place}, the message at {end}")
        yield number, value


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
