"""Artefacts that a suite has made before it measures them, by the verb a person would type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import edgepose
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
    """What the artefact depends on."""
    name = words[0]
    weights = next((e.weights for e in entries() if name in (e.name, e.model)), None)
    if "--weights" in words:
        weights = Path(words[words.index("--weights") + 1])
    return {
        "arguments": list(words),
        "edgepose": edgepose.__version__,
        "weights_sha256": sha256_of(weights) if weights and weights.is_file() else None,
    }


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
    command = redact(f"edgepose export {' '.join(words)}")
    raise MakingError(
        what or "the export failed",
        why,
        hint or f"see what it says: {command}",
        exit_code=done.returncode if done.returncode > 0 else 1,
    )


def _said(stderr: str) -> tuple[str | None, str | None, str | None]:
    """What, why and hint of the message that the verb ends with."""
    found = re.search(r"^edgepose: (.+?)(?:\n  next: (.+))?\s*\Z", stderr, re.DOTALL | re.MULTILINE)
    if found is None:
        lines = stderr.strip().splitlines()
        return None, lines[-1] if lines else "it said nothing", None
    what, _, why = found[1].partition(": ")
    return what, why or None, found[2]
