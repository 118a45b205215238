"""onnxruntime 1.17 and later on a CPU: operator sets 7 to 20, file format 9.

Source: the kernels and schemas that onnxruntime 1.17.3 itself lists
(get_all_opkernel_def, get_all_operator_schema). Of the standard operators up to set 20 that set is
still in use, two have neither a kernel nor a definition in other operators: DeformConv (later
versions have it) and ImageDecoder. Types are not in the table, for the onnxruntime at hand is asked
itself: it is part of every install.
"""

from __future__ import annotations

from onnx import defs

__all__ = ["OPERATORS"]

_MISSING = frozenset({"DeformConv", "ImageDecoder"})
_SINCE = 20

OPERATORS: dict[str, frozenset[str] | None] = {
    name: None
    for name in sorted(
        {
            schema.name
            for schema in defs.get_all_schemas_with_history()
            if schema.domain == "" and schema.since_version <= _SINCE
        }
    )
    if name not in _MISSING
}
