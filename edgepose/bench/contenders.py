"""From what was named to what a worker is asked to open."""

from __future__ import annotations

import difflib
from pathlib import Path

from edgepose.bench.plan import Artefact, Plan
from edgepose.bench.worker.request import Request
from edgepose.errors import InputError
from edgepose.models import REGISTRY
from edgepose.runtime.open import SUFFIXES
from edgepose.zoo import entries

__all__ = ["contender"]


def contender(artefact: Artefact, plan: Plan, made: Path | None = None) -> Request:
    """What to open for an artefact of a plan.

    Args:
        artefact: The artefact.
        plan: What it has in common with the others.
        made: The file that its export made.

    Raises:
        InputError: It names no file, no ready file of the zoo and no model.
    """
    use = str(made) if made is not None else str(artefact.use)
    is_file = Path(use).suffix in SUFFIXES
    if is_file:
        use = str(_ready(use))
    elif use.partition("@")[0] not in REGISTRY:
        raise _unknown(use)
    if is_file and (artefact.weights is not None or artefact.random_weights):
        raise InputError(f"{artefact.name} has its weights inside", None, "leave weights out")
    engine = Path(use).suffix == ".engine"
    return Request(
        label=artefact.name,
        artefact=use,
        kind=("engine" if engine else "onnx") if is_file else "torch",
        weights=artefact.weights,
        random_weights=artefact.random_weights,
        device=artefact.device or (None if engine else plan.device),
        threads=plan.threads,
        spec_file=artefact.spec if Path(use).suffix == ".onnx" else None,
        scene_folder=plan.images,
    )


def _ready(name: str) -> Path:
    """The file; or, where there is none, the zoo's ready file of that name, if it has one."""
    path = Path(name)
    if not path.is_file() and path.parent == Path():
        for entry in entries():
            own = entry.name, entry.model if entry.default else entry.name
            if path.stem in own and entry.onnx is not None and path.suffix == ".onnx":
                return entry.onnx
    return path


def _unknown(name: str) -> InputError:
    if name.endswith(".json"):
        return InputError(f"there is no record {name}")
    near = difflib.get_close_matches(name.partition("@")[0], REGISTRY, n=3)
    return InputError(
        f"there is no model and no artefact called '{name}'",
        f"it is none of the {len(REGISTRY)} models, and does not end in {' or '.join(SUFFIXES)}",
        f"did you mean {' or '.join(near)}?" if near else "edgepose models lists the models",
    )
