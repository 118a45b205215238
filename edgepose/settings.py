"""Settings: frozen dataclasses filled from TOML tables and from ``KEY=VALUE`` on the command line.

What a key may be is the annotation of the field of that name; nothing else is read, and what is
wrong is named, with what was probably meant. A field may be a switch, a number, a text, a choice
(``Literal``), a list (``tuple``), another such dataclass (a table), or a tuple of them (tables).
"""

from __future__ import annotations

import difflib
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgepose.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["any_of", "check", "from_table", "put", "read_toml", "without_none"]

# One and several, in words.
_KINDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "switches"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
}


def read_toml(path: Path, what: str, hint: str | None = None) -> dict[str, Any]:
    """What a TOML file holds.

    Args:
        path: The file.
        what: What it is, for the message: ``recipe``, ``suite``.
        hint: What to look at if it is not there.

    Raises:
        InputError: It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the {what} {path}", error.strerror or str(error), hint
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} {path}", f"it is not TOML ({error})") from error


def from_table(kind: type, data: Mapping[str, Any], prefix: str = "") -> Any:
    """A dataclass from one table, each value of its field's kind.

    Args:
        kind: The dataclass.
        data: What the file holds.
        prefix: What stands before the keys in messages, as ``int8.``.

    Raises:
        InputError: A key is unknown or missing, or a value of another kind; says which.
    """
    hints = get_type_hints(kind)
    for key in data:
        if key not in hints:
            raise _unknown(f"{prefix}{key}", [f"{prefix}{name}" for name in _names(kind)])
    for one in fields(kind):
        required = one.default is MISSING and one.default_factory is MISSING
        if required and one.name not in data:
            raise InputError(f"the setting '{prefix}{one.name}' is missing")
    values = {key: _value(hints[key], value, f"{prefix}{key}") for key, value in data.items()}
    return kind(**values)


def put(data: dict[str, Any], setting: str, kind: type, hidden: Sequence[str] = ()) -> None:
    """One ``KEY=VALUE`` into what a TOML file would hold.

    Args:
        data: What is changed.
        setting: ``key=value`` or ``table.key=value``; the value as in TOML, or a bare word,
            ``1,4,16`` for a list, ``none`` for no value.
        kind: The dataclass that the data is for.
        hidden: Fields that cannot be set so.

    Raises:
        InputError: The setting is none, or unknown.
    """
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not equals:
        raise InputError(
            f"cannot read the setting '{setting}'",
            "it is not KEY=VALUE",
            f"for example --set {_names(kind, hidden)[-1]}=VALUE",
        )
    known = _names(kind, hidden)
    if key not in known:
        raise _unknown(key, known)
    table, _, name = key.rpartition(".")
    owner = get_type_hints(kind)[table] if table else kind
    place = data.setdefault(table, {}) if table else data
    hint = get_type_hints(owner)[name]
    wanted = _kind(hint)
    if text.lower() == "none" and wanted is not hint:
        place.pop(name, None)
    elif wanted is bool:
        place[name] = _literal(text.lower())
    elif get_origin(wanted) is tuple and not text.startswith("["):
        item = get_args(wanted)[0]
        parts = [part.strip() for part in text.split(",") if part.strip()]
        place[name] = [part if item is str else _literal(part) for part in parts]
    else:
        place[name] = text if wanted is str else _literal(text)


def without_none(data: Any) -> Any:
    """The same as TOML could hold it: it has no null, so that what is None is left out."""
    if isinstance(data, (tuple, list)):
        return [without_none(one) for one in data]
    if not isinstance(data, dict):
        return data
    return {key: without_none(value) for key, value in data.items() if value is not None}


def check(key: str, value: Any, good: bool, wanted: str, hint: str | None = None) -> None:
    """Raise :class:`InputError` naming the setting unless ``good``."""
    if not good:
        raise InputError(f"the setting '{key}' is {value!r}", f"it must be {wanted}", hint)


def any_of(names: Iterable[str]) -> str:
    """``a or b or c``."""
    return " or ".join(names)


def _value(hint: Any, value: Any, key: str) -> Any:
    """``value`` if it is what the annotation says."""
    hint = _kind(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a table")
        return from_table(hint, value, f"{key}.")
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            raise _wrong(key, value, f"one of {', '.join(choices)}", near)
        return value
    if get_origin(hint) is tuple:
        return _list(hint, value, key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(key, value, _KINDS[hint][0])
    return value


def _list(hint: Any, value: Any, key: str) -> tuple[Any, ...]:
    kind, *more = get_args(hint)
    if is_dataclass(kind):
        if not isinstance(value, (list, tuple)):
            raise _wrong(key, value, f"tables, each headed [[{key}]]")
        return tuple(_value(kind, one, f"{key}[{at}]") for at, one in enumerate(value, 1))
    wanted = None if more == [...] else 1 + len(more)
    if not isinstance(value, (list, tuple)) or wanted not in (None, len(value)):
        count = "" if wanted is None else f" of {wanted} {_KINDS[kind][1]}"
        raise _wrong(key, value, f"a list{count}")
    return tuple(_value(kind, one, key) for one in value)


def _kind(hint: Any) -> Any:
    """What may stand in a file: an annotation without its None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    (kind,) = (one for one in get_args(hint) if one is not type(None))
    return kind


def _names(kind: type, hidden: Sequence[str] = ()) -> list[str]:
    """All keys, plain ones first, then those of tables as ``table.key``."""
    hints = get_type_hints(kind)
    plain, inner = [], []
    for one in fields(kind):
        if one.name in hidden:
            continue
        hint = _kind(hints[one.name])
        if is_dataclass(hint) and isinstance(hint, type):
            inner += [f"{one.name}.{name}" for name in _names(hint)]
        else:
            plain.append(one.name)
    return plain + inner


def _literal(text: str) -> Any:
    """A value as in TOML, or a bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _unknown(key: str, known: Sequence[str]) -> InputError:
    # Someone who leaves the table out, or puts a key into the wrong one, means the same key.
    near = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    return InputError(
        f"unknown setting '{key}'",
        f"known are {', '.join(known)}",
        f"did you mean {any_of(near)}?" if near else None,
    )


def _wrong(key: str, value: Any, wanted: str, near: Sequence[str] | None = None) -> InputError:
    return InputError(
        f"the setting '{key}' is {value!r}",
        f"it must be {wanted}",
        f"did you mean {near[0]}?" if near else None,
    )
