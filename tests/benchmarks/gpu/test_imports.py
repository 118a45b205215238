"""What runs beside the GPU must run where there is no torch and no onnx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import gpu

MODULES = [
    ".".join(("benchmarks.gpu", *path.relative_to(Path(gpu.__file__).parent).parts))[:-3]
    for path in Path(gpu.__file__).parent.rglob("*.py")
    if path.stem not in ("prepare", "__main__", "__init__")
]


def test_only_preparing_needs_torch_and_onnx(repo_root: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'tensorrt', 'pycuda', 'pytest'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {MODULES!r}:\n    __import__(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=False
    )
    assert len(MODULES) > 20
    assert done.returncode == 0, done.stderr
