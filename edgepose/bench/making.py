"""Artefacts that a suite has made before it measures them, by the verb a person would type."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import edgepose
from edgepose.bench.hardware import fingerprint
from edgepose.errors import EdgeposeError, InputError
from edgepose.files import write_text
from edgepose.recipes import load_recipe
from edgepose.redact import redact
from edgepose.zoo import entries, sha256_of

__all__ = ["MakingError", "make"]

_NOTE = "made.json"


class MakingError(EdgeposeError):
    """An export that a suite asked for failed; the exit code is its own.

    Args:
        what: As for the base.
        why: As for the base.
        hint: As for the base.
        exit_code: Of the export.
    """

    def __init__(self, what: str, why: str | None, hint: str | None, *, exit_code: int) -> None:
        super().__init__(what, why, hint)
        self.exit_code = exit_code


def make(
    arguments: Sequence[str],
    folder: Path,
    calib: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Export an artefact, or take the one that the same export left here before.

    It happens in a process of its own, so that what PyTorch takes of memory is given back before
    anything is measured.

    Args:
        arguments: Of ``edgepose export``, without ``-o``.
        folder: Where it goes; of this artefact alone.
        calib: People to calibrate INT8 on.
        say: Told when an export begins.

    Returns:
        The .onnx or .engine file.

    Raises:
        InputError: INT8, and nobody to calibrate on.
        MakingError: The export failed; carries its words.
    """
    words = list(arguments)
    if _quantises(words) and "--calib" not in words:
        if calib is None:
            raise InputError(
                "INT8 needs people to calibrate on",
                f"the suite exports {' '.join(words)}",
                "--set calib=FOLDER of pictures of people",
            )
        words += ["--calib", calib]
    key = _key(words)
    kept = _kept(folder, key)
    if kept is not None:
        return kept
    if say is not None:
        say(f"exporting {' '.join(arguments)}")
    folder.mkdir(parents=True, exist_ok=True)
    told = _export([*words, "-o", str(folder), "--json"])
    file = Path(told["engine"]["engine"] if "engine" in told else told["artefact"])
    note = key | {"file": file.name, "sha256": sha256_of(file)}
    write_text(folder / _NOTE, json.dumps(note, indent=1) + "\n")
    return file


def _quantises(words: Sequence[str]) -> bool:
    """Whether it is asked for by ``--precision``, ``--set precision=`` or a recipe."""
    if any(re.match(r"(--precision=|precision=)?int8", word) for word in words):
        return True
    return "--recipe" in words and load_recipe(words[words.index("--recipe") + 1]).quantised


def _key(words: Sequence[str]) -> dict[str, Any]:
    """What the artefact depends on: the arguments, what they name, and who makes it."""
    named = {}
    for word in words:
        place = Path(word.partition("=")[2] if word.startswith("--") and "=" in word else word)
        if place.is_file():
            named[word] = sha256_of(place)
        elif place.is_dir():
            named[word] = _listing(place)
    for entry in entries():
        if entry.name in words or (entry.default and entry.model in words):
            named[entry.name] = sha256_of(entry.weights)
    if "--recipe" in words:
        named["recipe"] = json.dumps(load_recipe(words[words.index("--recipe") + 1]).to_dict())
    return {
        "arguments": list(words),
        "edgepose": edgepose.__version__,
        "named": named,
        "packages": fingerprint()["stack"]["packages"],
    }


def _listing(folder: Path) -> str:
    """Digest of what a folder holds: names, sizes and times, not a gigabyte of pictures."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        facts = path.stat()
        digest.update(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _kept(folder: Path, key: dict[str, Any]) -> Path | None:
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        file = folder / note["file"]
        same = {name: note[name] for name in key} == key and sha256_of(file) == note["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return file if same else None


def _export(words: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - this interpreter, with the arguments of a suite
        [sys.executable, "-m", "edgepose", "export", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    if done.returncode == 0:
        told: dict[str, Any] = json.loads(done.stdout)
        return told
    what, why, hint = _said(done.stderr)
    raise MakingError(
        redact(what or "the export failed"),
        None if why is None else redact(why),
        hint or redact(f"see what it says: edgepose export {' '.join(_typed(words))}"),
        exit_code=done.returncode if done.returncode > 0 else 1,
    )


def _typed(words: Sequence[str]) -> list[str]:
    """The arguments without those that are added here."""
    return list(words[: words.index("-o")])


def _said(stderr: str) -> tuple[str | None, str | None, str | None]:
    """What, why and hint of the message that the verb ends with."""
    found = re.search(r"^edgepose: (.+?)(?:\n  next: (.+))?\s*\Z", stderr, re.DOTALL | re.MULTILINE)
    if found is None:
        # Wrong usage is told in a box.
        lines = [line.strip("\u2502 ") for line in stderr.splitlines() if line.startswith("\u2502")]
        lines = lines or stderr.strip().splitlines()[-1:]
        return None, " ".join(lines) or "it said nothing", None
    what, _, why = found[1].partition(": ")
    return what, why or None, found[2]
