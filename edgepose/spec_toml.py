"""A PoseSpec as TOML: what ``--spec FILE.toml`` takes for a foreign ONNX file.

Fields are those of :class:`edgepose.PoseSpec`; what has a default there may be left out here::

    model = "rtmpose-t"
    input_size = [256, 192]     # height, width
    output = "simcc"
    padding = 1.25

    [decoder]
    name = "simcc"
    alignment = "corner"
    split_ratio = 2.0

    [keypoints]                 # the 17 of COCO if left out
    names = ["nose", ...]
    flip_pairs = [[1, 2], ...]
    skeleton = [[0, 1], ...]
    sigmas = [0.026, ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgepose.errors import SpecError
from edgepose.spec import COCO_KEYPOINTS, PoseSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_spec_toml", "spec_to_toml"]

_SECTIONS = ("decoder", "keypoints", "provenance")


def load_spec_toml(path: str | Path) -> PoseSpec:
    """Read a spec.

    Raises:
        SpecError: Missing, no TOML, or a field that is unknown, missing or wrong.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise SpecError(f"cannot read the spec {path}", error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the spec {path}", f"it is not TOML ({error})") from error
    try:
        return PoseSpec.from_dict(data)
    except SpecError as error:
        raise SpecError(f"the spec {path} cannot be used", str(error), error.hint) from error


def spec_to_toml(spec: PoseSpec) -> str:
    """The spec as TOML that :func:`load_spec_toml` reads; COCO keypoints are left out."""
    data = spec.to_dict()
    if spec.keypoints == COCO_KEYPOINTS:
        del data["keypoints"]
    if not spec.provenance.trained_on and not spec.provenance.weights_sha256:
        del data["provenance"]
    sections = {name: data.pop(name) for name in _SECTIONS if name in data}
    lines = _assignments(data)
    for name, values in sections.items():
        measured = values.pop("measured", [])
        lines += ["", f"[{name}]", *_assignments(values)]
        for row in measured:
            lines += ["", f"[[{name}.measured]]", *_assignments(row)]
    return "\n".join(lines) + "\n"


def _assignments(values: dict[str, Any]) -> list[str]:
    # JSON scalars, strings and arrays are TOML ones too.
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]
