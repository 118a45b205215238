"""The zoo: names of models that come with trained weights, and where their files lie.

One folder a model: ``README.md`` (the card), ``figures.toml`` (what is measured and the digests),
weights as FP16 safetensors, and for some a ready ONNX file, so that a device needs no torch.
In a checkout the zoo is the top-level folder ``models/``; a wheel carries it as package data.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import ArtefactError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ZooEntry", "entries", "find", "sha256_of", "zoo_folder"]


@dataclass(frozen=True)
class ZooEntry:
    """One trained setting of a model.

    Attributes:
        model: Registry name.
        input_size: (H, W) it was trained at.
        default: Whether the bare model name means this setting.
        weights: The safetensors file.
        onnx: The ready ONNX file, or None if it has to be exported first.
        card: The model's card.
        figures: Everything else in its table of ``figures.toml``.
    """

    model: str
    input_size: tuple[int, int]
    default: bool
    weights: Path
    onnx: Path | None
    card: Path
    figures: dict[str, Any]

    @property
    def name(self) -> str:
        """Full name, ``model@HxW``."""
        return f"{self.model}@{self.input_size[0]}x{self.input_size[1]}"


def zoo_folder() -> Path:
    """The folder that holds the models' folders."""
    packed = Path(__file__).parent / "_zoo"
    return packed if packed.is_dir() else Path(__file__).parent.parent / "models"


def entries() -> list[ZooEntry]:
    """Every trained setting that is on this machine, by model name.

    Raises:
        ArtefactError: A ``figures.toml`` is damaged.
    """
    found = []
    for figures in sorted(zoo_folder().glob("*/figures.toml")):
        try:
            settings = tomllib.loads(figures.read_text())["setting"]
            found += [_entry(figures.parent, row) for row in settings]
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"the zoo's {figures.parent.name}/figures.toml cannot be read",
                f"{type(error).__name__}: {error}",
                "reinstall edgepose",
            ) from error
    return found


def find(name: str) -> ZooEntry:
    """The trained setting of that name.

    Args:
        name: ``model`` for its default setting, or ``model@HxW``.

    Raises:
        ArtefactError: There are no such weights; says which there are.
    """
    known = entries()
    for entry in known:
        if name == entry.name or (name == entry.model and entry.default):
            return entry
    names = [e.model for e in known if e.default] + [e.name for e in known]
    close = difflib.get_close_matches(name, names, n=3)
    raise ArtefactError(
        f"the zoo has no trained weights called '{name}'",
        f"it has {', '.join(names) or 'none'}",
        f"did you mean {' or '.join(close)}?"
        if close
        else "give an .onnx file, or train the model: edgepose train --help",
    )


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as handle:
        digest = hashlib.sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _entry(folder: Path, row: dict[str, Any]) -> ZooEntry:
    height, width = (int(v) for v in row["input_size"])
    onnx = folder / row["onnx"] if "onnx" in row else None
    return ZooEntry(
        model=folder.name,
        input_size=(height, width),
        default=bool(row.get("default", False)),
        weights=folder / row["weights"],
        onnx=onnx,
        card=folder / "README.md",
        figures=row,
    )
