"""The bundle: what is carried to the machine with the GPU, in parts that may be limited in size.

A folder with ``part-01``, ``part-02`` and so on. Each holds pieces of packed files and the whole
manifest, so that any of them says what the others should hold. A part that was left behind costs
the files in it and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.packing import pack, unpack
from edgepose.errors import ArtefactError, InputError
from edgepose.files import write_bytes, write_text
from edgepose.spec import PoseSpec

__all__ = ["Bundle", "BundleWriter", "Graph", "Manifest", "Model", "Packed", "Piece"]

SCHEMA = 1
MANIFEST = "manifest.json"
_MIB = 2**20


@dataclass(frozen=True)
class Piece:
    """Part of a packed file: in which part of the bundle, under which name, how many bytes."""

    part: int
    name: str
    bytes: int


@dataclass(frozen=True)
class Packed:
    """A file of the bundle.

    Attributes:
        bytes: Size as it was.
        sha256: Of it.
        width: Size of number it was packed by, see :mod:`benchmarks.gpu.packing`.
        pieces: Put together they are the packed file.
    """

    bytes: int
    sha256: str
    width: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Graph:
    """A model in one precision.

    Attributes:
        file: Its ONNX file; None where it could not be made.
        words: Why not; empty otherwise.
        opset: Operator set.
        nodes: Number of nodes.
        parity: The verdict of its export.
    """

    file: str | None
    words: str = ""
    opset: int = 0
    nodes: int = 0
    parity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Model:
    """A model of the bundle.

    Attributes:
        name: Registry name, with the input size where it is not the usual one.
        weights: Where they are from, in words.
        trained: Whether they are; random weights find no poses.
        spec: Its spec.
        people: File with crops and what PyTorch makes of them (:mod:`benchmarks.gpu.people`).
        graphs: Precision -> graph, the most wanted first.
    """

    name: str
    weights: str
    trained: bool
    spec: PoseSpec
    people: str
    graphs: Mapping[str, Graph]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        command: The command that made it.
        made_with: Versions of what made it.
        target: The runtime that the graphs were written for, as ``edgepose export --target``.
        models: In the order in which they are measured.
        coco: Archive with a COCO-layout folder to measure accuracy on; None without.
        files: Name -> where its bytes are.
    """

    command: str
    made_with: Mapping[str, str]
    target: str
    models: tuple[Model, ...]
    coco: str | None = None
    files: Mapping[str, Packed] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return max((p.part for f in self.files.values() for p in f.pieces), default=1)

    def to_json(self) -> str:
        """As it is written."""
        models = [asdict(model) | {"spec": model.spec.to_dict()} for model in self.models]
        return json.dumps({"schema": SCHEMA, **asdict(self), "models": models}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str) -> Manifest:
        """As it was written.

        Raises:
            InputError: It is damaged, or of another version.
        """
        try:
            data = json.loads(text)
            schema = data.pop("schema")
            if schema != SCHEMA:
                raise InputError(
                    f"cannot read {origin}",
                    f"it has schema {schema}, this reads {SCHEMA}",
                    "prepare the bundle again with this version",
                )
            data["models"] = tuple(_model(entry) for entry in data["models"])
            data["files"] = {name: _packed(entry) for name, entry in data["files"].items()}
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"cannot read {origin}", f"{type(error).__name__}: {error}") from error


def _model(entry: dict[str, Any]) -> Model:
    spec = PoseSpec.from_dict(entry["spec"])
    graphs = {name: Graph(**graph) for name, graph in entry["graphs"].items()}
    return Model(**(entry | {"spec": spec, "graphs": graphs}))


def _packed(entry: dict[str, Any]) -> Packed:
    return Packed(**(entry | {"pieces": tuple(Piece(**piece) for piece in entry["pieces"])}))


class BundleWriter:
    """Writes a bundle, file by file.

    Args:
        folder: Where; must be empty or absent.
        part_mib: Largest size of a part in MiB; None for one part of any size.

    Raises:
        InputError: Something is in the folder already.
    """

    def __init__(self, folder: Path, part_mib: float | None = None) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} is not empty", "a bundle is made as a whole", "name a new folder"
            )
        self.folder = folder
        # The manifest lies in every part, too.
        self._room = None if part_mib is None else max(1, int((part_mib - 1) * _MIB))
        self._part, self._used = 1, 0
        self._files: dict[str, Packed] = {}

    def add(self, name: str, data: bytes) -> None:
        """Put a file in, cut only if it is larger than a part.

        Raises:
            OutputError: It cannot be written.
        """
        width, packed = pack(data)
        pieces: list[Piece] = []
        start = 0
        # What fits into a part is not cut in two: then a part that is left behind costs less.
        if self._room is not None and self._room - self._used < len(packed) <= self._room:
            self._part, self._used = self._part + 1, 0
        while start < len(packed) or not pieces:
            if self._room is not None and self._used >= self._room:
                self._part, self._used = self._part + 1, 0
            room = len(packed) if self._room is None else self._room - self._used
            block = packed[start : start + room]
            piece = Piece(self._part, f"{name}.{len(pieces)}", len(block))
            write_bytes(_part(self.folder, piece.part) / piece.name, block)
            pieces.append(piece)
            start += len(block)
            self._used += len(block)
        self._files[name] = Packed(len(data), _digest(data), width, tuple(pieces))

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest into every part; gives it as it was written.

        Raises:
            OutputError: It cannot be written.
        """
        whole = Manifest(**(vars(manifest) | {"files": self._files}))
        for part in range(1, whole.parts + 1):
            write_text(_part(self.folder, part) / MANIFEST, whole.to_json())
        return whole


class Bundle:
    """A bundle that was carried here, whole or in parts.

    Args:
        folders: The bundle, or some of its parts, in any order.
        work: Folder where its files are put together.

    Attributes:
        manifest: What it should hold.

    Raises:
        InputError: There is none, it is damaged, or parts are of two different bundles.
    """

    def __init__(self, folders: Sequence[Path], work: Path) -> None:
        self.folders, self.work = tuple(folders), work
        parts = [part for folder in folders for part in _parts(folder)]
        if not parts:
            raise InputError(
                f"there is no bundle in {', '.join(map(str, folders))}",
                f"no {MANIFEST} was found there",
                "make one where torch is: scripts/gpu_check prepare DIR",
            )
        texts = {part: (part / MANIFEST).read_text() for part in parts}
        if len(set(texts.values())) > 1:
            raise InputError(
                f"{parts[0]} and {next(p for p in parts if texts[p] != texts[parts[0]])} are of "
                "different bundles",
                "their manifests differ",
                "carry all parts of one bundle",
            )
        self.manifest = Manifest.from_json(texts[parts[0]], str(parts[0] / MANIFEST))
        self._parts = parts

    def model(self, name: str) -> Model:
        """The model of that name."""
        return next(model for model in self.manifest.models if model.name == name)

    def missing(self, name: str) -> str:
        """Why a file is not here; empty if it is."""
        packed = self.manifest.files[name]
        parts = sorted({p.part for p in packed.pieces if self._find(p) is None})
        if not parts:
            return ""
        return f"{', '.join(f'part-{part:02}' for part in parts)} of the bundle was not carried"

    def path(self, name: str) -> Path:
        """A file, put together in the work folder and checked.

        Raises:
            Absent: A part that it needs is not here.
            ArtefactError: It is damaged.
            OutputError: It cannot be written.
        """
        packed = self.manifest.files[name]
        path = self.work / "files" / name
        if path.is_file() and path.stat().st_size == packed.bytes:
            return path  # it was checked when it was written, whole or not at all
        if words := self.missing(name):
            raise Absent(name, words)
        found = [self._find(piece) for piece in packed.pieces]
        try:
            data = unpack(b"".join(p.read_bytes() for p in found if p is not None), packed.width)
        except ValueError as error:
            raise ArtefactError(
                f"{name} of the bundle is damaged", str(error), "carry its parts again"
            ) from error
        if _digest(data) != packed.sha256:
            raise ArtefactError(
                f"{name} of the bundle is damaged",
                "its bytes are not those that the manifest names",
                "carry its parts again",
            )
        write_bytes(path, data)
        return path

    def _find(self, piece: Piece) -> Path | None:
        for part in self._parts:
            path = part / piece.name
            if path.is_file() and path.stat().st_size == piece.bytes:
                return path
        return None


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:02}"


def _parts(folder: Path) -> Iterable[Path]:
    if (folder / MANIFEST).is_file():
        yield folder
    yield from sorted(path.parent for path in folder.glob(f"part-*/{MANIFEST}"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
