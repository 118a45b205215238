"""What may import what, and what an import may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgepose

PACKAGE = Path(edgepose.__file__).parent
HEAVY = (
    "torch",
    "onnx",
    "onnxscript",
    "tensorrt",
    "pycuda",
    "matplotlib",
    "jinja2",
    "pycocotools",
)

# Part -> parts it may import. One way: down this table.
ALLOWED = {
    "cli": {
        "bench",
        "stream",
        "train",
        "export",
        "engine",
        "doctor",
        "parity",
        "evaluate",
        "models",
        "core",
    },
    "bench": {"evaluate", "export", "models", "parity", "core"},
    "train": {"evaluate", "models", "core"},
    "export": {"engine", "parity", "evaluate", "models", "core"},
    "engine": {"parity", "evaluate", "core"},
    "doctor": {"engine", "core"},
    "parity": {"evaluate", "core"},
    "stream": {"core"},
    "evaluate": {"core"},
    "models": {"core"},
    "core": {"core"},
}


def part_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "core"


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "edgepose"}


def test_imports_point_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        own = part_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for name in imports_of(path):
            other = part_of(name)
            if path.name != "__main__.py" and other != own and other not in ALLOWED[own]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_import_edgepose_loads_numpy_only() -> None:
    code = "import sys, json, edgepose; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(code)))
    assert not loaded & {*HEAVY, "cv2", "onnxruntime", "typer", "rich"}


def test_what_builds_an_engine_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, json, edgepose.engine, edgepose.engine.worker, edgepose.parity, edgepose.trt\n"
        "import edgepose.runtime.tensorrt\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert not set(json.loads(run_python(code))) & set(HEAVY)


def test_import_is_quick() -> None:
    """Under 150 ms beyond numpy, of CPU time: other work may share the machine."""
    code = (
        "import time, numpy, numpy.typing; t = time.process_time(); import edgepose; "
        "print(time.process_time() - t)"
    )
    assert min(float(run_python(code)) for _ in range(5)) < 0.15


def test_help_is_quick() -> None:
    code = (
        "import time; t = time.process_time(); import sys; sys.argv = ['edgepose', '--help']\n"
        "from edgepose.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(time.process_time() - t)"
    )
    assert min(float(run_python(code).splitlines()[-1]) for _ in range(5)) < 0.5


def test_public_names_are_sorted_and_complete() -> None:
    assert edgepose.__all__ == sorted(edgepose.__all__)
    for name in edgepose.__all__:
        assert hasattr(edgepose, name)


@pytest.mark.parametrize("verb", ["run"])
def test_the_device_path_needs_neither_torch_nor_onnx(verb: str, tmp_path: Path) -> None:
    """The whole verb on a real artefact, with those packages made impossible to import."""
    from tests.fakes import heatmap_spec, write_tiny_onnx

    artefact = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec())
    photo = PACKAGE / "samples" / "000000000785.jpg"
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {HEAVY!r}:
            raise ImportError('the device path imported ' + name)
sys.meta_path.insert(0, Refuse())
sys.argv = ['edgepose', {verb!r}, {str(artefact)!r}, '--source', {str(photo)!r},
            '--jsonl', {str(tmp_path / "o.jsonl")!r}, '--save', {str(tmp_path / "o.jpg")!r}]
from edgepose.cli import main
main()
"""
    run_python(code)
    assert json.loads((tmp_path / "o.jsonl").read_text())["persons"]
    assert (tmp_path / "o.jpg").stat().st_size > 1000
