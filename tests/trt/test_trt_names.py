"""The script that writes the tables of names."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.trt.fake import NAMES, VERSIONS

TOOLS = ("gcc", "nm", "readelf")


@pytest.mark.trt
@pytest.mark.skipif(find_spec("tensorrt_rtx_bindings") is None, reason="needs edgepose[rtx]")
@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="needs gcc and binutils")
def test_it_writes_what_is_committed(
    tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = "tensorrt-rtx-cu13-bindings"
    table = f"rtx-{version(package)}"
    if table not in VERSIONS:
        pytest.skip(f"no table of {table} is committed")
    spec = find_spec("tensorrt_rtx_bindings")
    assert spec is not None and spec.origin is not None
    library = Path(spec.origin).parent / "tensorrt_rtx.so"
    with zipfile.ZipFile(tmp_path / "bindings.whl", "w") as wheel:
        wheel.write(library, f"tensorrt_rtx_bindings/{library.name}")
    script = runpy.run_path(str(repo_root / "scripts" / "trt_names"))
    monkeypatch.setitem(script["main"].__globals__, "NAMES", tmp_path)
    asked = f"{package}=={version(package)}"
    monkeypatch.setattr(sys, "argv", ["trt_names", asked, "--wheel", f"{tmp_path}/bindings.whl"])
    script["main"]()
    written = json.loads((tmp_path / f"{table}.json").read_text())
    assert written == json.loads((NAMES / f"{table}.json").read_text())
