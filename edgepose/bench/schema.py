"""Whether a record is built as its JSON Schema says, without a package for it.

A device installs numpy, OpenCV and onnxruntime; a validator of the whole standard is too much to
ask for. This one knows the keywords that ``record.schema.json`` uses and refuses any other, so that
nothing in the schema is silently passed over. The tests hold it against the ``jsonschema`` package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["faults", "record_schema"]

Schema = dict[str, Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_WORDS = frozenset({"$schema", "$defs", "title", "description"})


@cache
def record_schema() -> Schema:
    """The schema of an artefact's record, as packaged."""
    text = resources.files("edgepose.bench").joinpath("record.schema.json").read_text("utf-8")
    schema: Schema = json.loads(text)
    return schema


def faults(value: Any) -> list[str]:
    """What is wrong with a record, one line a fault with its place; empty if nothing is."""
    schema = record_schema()
    return [f"{place or 'the record'} {what}" for place, what in _faults(value, schema, "")]


def _faults(value: Any, schema: Schema, place: str) -> Iterator[tuple[str, str]]:
    for keyword, wanted in schema.items():
        if keyword not in _WORDS:
            yield from _CHECKS[keyword](value, wanted, schema, place)


def _reference(value: Any, wanted: str, _: Schema, place: str) -> Iterator[tuple[str, str]]:
    yield from _faults(value, record_schema()["$defs"][wanted.removeprefix("#/$defs/")], place)


def _type(value: Any, wanted: str | list[str], _: Schema, place: str) -> Iterator[tuple[str, str]]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not any(_TYPES[name](value) for name in names):
        yield place, f"is {_called(value)} and should be {' or '.join(names)}"


def _one_of(value: Any, wanted: list[Any], _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if not any(_same(value, choice) for choice in wanted):
        yield place, f"is {json.dumps(value)[:40]} and should be one of {json.dumps(wanted)}"


def _constant(value: Any, wanted: Any, schema: Schema, place: str) -> Iterator[tuple[str, str]]:
    yield from _one_of(value, [wanted], schema, place)


def _minimum(value: Any, wanted: float, _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if _is_number(value) and value < wanted:
        yield place, f"is {value} and should be at least {wanted}"


def _required(value: Any, wanted: list[str], _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key in wanted:
            if key not in value:
                yield place, f"lacks '{key}'"


def _properties(
    value: Any, wanted: dict[str, Schema], _: Schema, place: str
) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, schema in wanted.items():
            if key in value:
                yield from _faults(value[key], schema, f"{place}.{key}" if place else key)


def _others(
    value: Any, wanted: bool | Schema, schema: Schema, place: str
) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        return
    for key in value.keys() - schema.get("properties", {}).keys():
        if isinstance(wanted, dict):
            yield from _faults(value[key], wanted, f"{place}.{key}")
        elif not wanted:
            yield place, f"holds '{key}', which is not known"


def _items(value: Any, wanted: Schema, _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, wanted, f"{place}[{index}]")


def _fewest(value: Any, wanted: int, _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list) and len(value) < wanted:
        yield place, f"holds {len(value)} and should hold at least {wanted}"


def _most(value: Any, wanted: int, _: Schema, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list) and len(value) > wanted:
        yield place, f"holds {len(value)} and should hold at most {wanted}"


def _any_of(value: Any, wanted: list[Schema], _: Schema, place: str) -> Iterator[tuple[str, str]]:
    """The faults of the branch that comes nearest: that is the one that was meant."""
    branches = [list(_faults(value, schema, place)) for schema in wanted]
    yield from min(branches, key=lambda found: (_misses(found, place), len(found)))


def _misses(found: list[tuple[str, str]], place: str) -> bool:
    """Whether a value is of another type, or another object, than the branch is about."""
    return any(
        at == place and (" and should be " in what or what == "lacks 'unavailable'")
        for at, what in found
    )


_CHECKS: dict[str, Callable[[Any, Any, Schema, str], Iterator[tuple[str, str]]]] = {
    "$ref": _reference,
    "additionalProperties": _others,
    "anyOf": _any_of,
    "const": _constant,
    "enum": _one_of,
    "items": _items,
    "maxItems": _most,
    "minItems": _fewest,
    "minimum": _minimum,
    "properties": _properties,
    "required": _required,
    "type": _type,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same(value: Any, choice: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _called(value: Any) -> str:
    return next((name for name, fits in _TYPES.items() if fits(value)), type(value).__name__)
