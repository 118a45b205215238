"""The tests that need a GPU, by pytest in a process of its own, with an engine that is built."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.child import Tell
from benchmarks.gpu.launch import ROOT, last_words
from benchmarks.gpu.opened import onnx_file, open_bundle
from edgepose.errors import EdgeposeError

__all__ = ["read_report", "run"]

_NOTHING_RAN = 5
_FAILED = 1


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Run them and tell what each of them found."""
    for module in ("pytest", "pytest_timeout"):  # whose option pyproject.toml sets
        if importlib.util.find_spec(module) is None:
            raise Absent(module, "it is not installed", "pip install pytest pytest-timeout")
    if not (ROOT / "tests" / "gpu").is_dir():
        raise Absent("tests/gpu", "this is no checkout of edgepose, whose tests are meant")
    bundle, model = open_bundle(task)
    onnx = onnx_file(bundle, model, task["precision"])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit1", f"--junitxml={report}", "tests/gpu"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                "EDGEPOSE_GPU_ENGINE": task["engine"],
                "EDGEPOSE_GPU_ONNX": str(onnx),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not report.is_file():
            words = last_words(done.stdout + done.stderr)
            raise EdgeposeError("pytest ended without a report", f"code {done.returncode}: {words}")
        tests = read_report(report.read_text())
    found = {"tests": tests, "pytest": importlib.metadata.version("pytest"), "command": command[1:]}
    ran = [test for test in tests if test["outcome"] != "skipped"]
    passed = all(test["outcome"] == "passed" for test in ran) if ran else None
    tell.found({**found, "passed": passed})
    if tests and not ran:
        ((words, _),) = Counter(test["words"] for test in tests).most_common(1)
        raise Absent("what the tests on a GPU need", words)
    if done.returncode not in (0, _FAILED, _NOTHING_RAN):
        words = last_words(done.stdout + done.stderr)
        raise EdgeposeError("pytest did not go through", f"code {done.returncode}: {words}")


def read_report(text: str) -> list[dict[str, Any]]:
    """Every test of a JUnit report: name, outcome, seconds, words, and what it recorded."""
    rows = []
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - as above
        outcome, words = "passed", ""
        for kind, called in (("skipped", "skipped"), ("failure", "failed"), ("error", "error")):
            node = case.find(kind)
            if node is not None:
                outcome = called
                words = " ".join((node.get("message") or node.text or "").split())[:2000]
        rows.append(
            {
                "test": f"{case.get('classname', '')}.{case.get('name', '')}",
                "outcome": outcome,
                "seconds": round(float(case.get("time", 0)), 2),
                "words": words,
                "figures": {p.get("name", ""): p.get("value") for p in case.iter("property")},
            }
        )
    return rows
