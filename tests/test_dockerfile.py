"""Dockerfile.jetson, read and not run: what it copies is there, what it installs is pinned."""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.12")  # JetPack 6 and 7


@pytest.fixture(scope="module")
def steps(repo_root: Path) -> list[tuple[str, str]]:
    """Instructions, with their lines joined and comments out."""
    text = (repo_root / "Dockerfile.jetson").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def pyproject(repo_root: Path) -> dict[str, object]:
    return tomllib.loads((repo_root / "pyproject.toml").read_text())


def of(steps: list[tuple[str, str]], kind: str) -> list[str]:
    return [text for name, text in steps if name == kind]


def pins(repo_root: Path) -> list[Requirement]:
    lines = (repo_root / "constraints-jetson.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(repo_root: Path, python: str) -> dict[str, str]:
    """Name -> version under a Python of JetPack."""
    place = {"python_version": python, "platform_machine": "aarch64", "sys_platform": "linux"}
    rows = [r for r in pins(repo_root) if r.marker is None or r.marker.evaluate(place)]
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: str(row.specifier).removeprefix("==") for row in rows}


def test_every_argument_is_used(steps: list[tuple[str, str]]) -> None:
    for argument in of(steps, "ARG"):
        name = argument.partition("=")[0]
        assert any(f"${{{name}}}" in text for kind, text in steps if kind != "ARG"), name


def test_the_base_is_jetpack_and_every_stage_is_known(steps: list[tuple[str, str]]) -> None:
    (base,) = [text for text in of(steps, "ARG") if text.startswith("BASE=")]
    assert re.fullmatch(r"BASE=nvcr\.io/nvidia/l4t-jetpack:r36\.\d+\.\d+", base)
    known = {"${BASE}"}
    for text in of(steps, "FROM"):
        name, _, stage = text.partition(" AS ")
        assert name in known
        known.add(stage)


def test_what_is_copied_is_there_and_not_ignored(
    steps: list[tuple[str, str]], repo_root: Path
) -> None:
    copied = [text.split()[:-1] for text in of(steps, "COPY") if not text.startswith("--from")]
    ignored = (repo_root / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in ignored if rule and not rule.startswith("#")]
    for name in (name for names in copied for name in names):
        assert (repo_root / name).exists(), name
        kept = False
        for rule in rules:  # the last that fits decides
            if fnmatch.fnmatch(name, rule.removeprefix("!")):
                kept = rule.startswith("!")
        assert kept, name
    shipped = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert shipped == {name for names in copied for name in names}


def test_the_wheel_has_all_it_is_made_of(
    steps: list[tuple[str, str]], pyproject: dict[str, object]
) -> None:
    copied = {name for text in of(steps, "COPY") for name in text.split()[:-1]}
    project, tool = pyproject["project"], pyproject["tool"]
    assert isinstance(project, dict)
    assert isinstance(tool, dict)
    wheel = tool["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], *wheel["packages"]}
    assert needed | set(wheel["force-include"]) <= copied


def test_neither_torch_nor_a_wheel_of_opencv(steps: list[tuple[str, str]], repo_root: Path) -> None:
    installs = [text for text in of(steps, "RUN") if "pip install" in text]
    assert len(installs) == 1
    assert "-c constraints-jetson.txt" in installs[0]
    assert "--no-cache-dir" in installs[0]
    words = " ".join(text for kind, text in steps if kind in ("RUN", "COPY"))
    assert "torch" not in words
    assert "opencv-python" not in words
    assert not {r.name for r in pins(repo_root)} & {"torch", "opencv-python", "tensorrt", "onnx"}


@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_device_needs_is_pinned_and_fits(
    python: str, repo_root: Path, pyproject: dict[str, object]
) -> None:
    project = pyproject["project"]
    assert isinstance(project, dict)
    versions = pinned(repo_root, python)
    place = {"python_version": python, "platform_machine": "aarch64"}
    for text in project["dependencies"]:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate(place):
            assert versions[wanted.name] in wanted.specifier, text
    assert versions["numpy"].startswith("1."), "the system's OpenCV does not load with NumPy 2"
    major = versions["cuda-bindings"].split(".")[0]
    assert major == {"3.10": "12", "3.12": "13"}[python]


def test_every_pin_is_exact(repo_root: Path) -> None:
    for row in pins(repo_root):
        assert re.fullmatch(r"==[\d.]+", str(row.specifier)), row


def test_packages_of_the_system(steps: list[tuple[str, str]]) -> None:
    for text in of(steps, "RUN"):
        if "apt-get install" in text:
            installs = re.findall(r"apt-get install (.*?)(?:&&|;|$)", text)
            assert all("-y --no-install-recommends" in words for words in installs)
            assert "apt-get update" in text
            assert "rm -rf /var/lib/apt/lists/*" in text


def test_it_runs_as_nobody_in_particular_and_is_tried_as_that(
    steps: list[tuple[str, str]],
) -> None:
    last = max(index for index, (kind, _) in enumerate(steps) if kind == "FROM")
    final = steps[last:]
    (user,) = of(final, "USER")
    assert int(user) >= 1000
    (made,) = [text for text in of(final, "RUN") if "useradd" in text]
    assert f"--uid {user}" in made
    assert "--groups video" in made
    kinds = [kind for kind, _ in final]
    tried = [index for index, (kind, text) in enumerate(final) if "edgepose run" in text]
    assert tried[0] > kinds.index("USER")
    assert "edgepose doctor" in final[tried[0]][1]
    assert of(final, "ENTRYPOINT") == ['["edgepose"]']
