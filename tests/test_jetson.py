"""Boards, releases and modules, from the files that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.jetson import _RECIPES, find_board
from edgepose.recipes import recipes
from tests.doctor import machines


def board(root: Path, model: str, release: str = "", compatible: str = "nvidia,tegra234"):  # type: ignore[no-untyped-def]
    files = {"/proc/device-tree/model": f"{model}\0", "/proc/device-tree/compatible": compatible}
    if release:
        files["/etc/nv_tegra_release"] = release
    return find_board(machines.system(root, {}, files=files))


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack", "tensorrt"),
    [
        ("# R36 (release), REVISION: 3.0, GCID: 1, BOARD: generic", "36.3.0", "6.0", "8.6"),
        ("# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic", "36.4.0", "6.1", "10.3"),
        ("# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic", "36.4.7", "6.2.1", "10.3"),
        ("# R36 (release), REVISION: 5.0, GCID: 1, BOARD: generic", "36.5.0", "6.2.2", "10.3"),
        ("# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic", "39.2.0", "7.2", "10.16"),
        ("# R39 (release), REVISION: 9.0, GCID: 1, BOARD: generic", "39.9.0", "7", ""),
        ("# R32 (release), REVISION: 7.4, GCID: 1, BOARD: t210ref", "32.7.4", "4", ""),
    ],
)
def test_releases(release: str, l4t: str, jetpack: str, tensorrt: str, tmp_path: Path) -> None:
    found = board(tmp_path, "NVIDIA Jetson AGX Orin Developer Kit", release)
    assert (found.l4t, found.jetpack, found.tensorrt) == (l4t, jetpack, tensorrt)
    assert found.out_of_range == (jetpack == "4")


@pytest.mark.parametrize(
    ("model", "compatible", "module"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3701-0005\0nvidia,tegra234", "agx-orin"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "x", "orin-nx"),
        ("NVIDIA Orin Nano Developer Kit", "nvidia,tegra234", "orin-nano"),
        # A carrier of one module with another on it: the part number tells.
        ("Somebody's carrier", "nvidia,p3768-0000+p3767-0001\0nvidia,tegra234", "orin-nx"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "nvidia,tegra194", "xavier"),
        ("NVIDIA Jetson Nano Developer Kit", "nvidia,tegra210", "nano or TX2"),
        ("A Tegra of a car", "nvidia,tegra234", ""),
    ],
)
def test_modules(model: str, compatible: str, module: str, tmp_path: Path) -> None:
    assert board(tmp_path, model, compatible=compatible).module == module


def test_other_machines_are_no_jetsons(tmp_path: Path) -> None:
    assert board(tmp_path, "Raspberry Pi 5 Model B", compatible="raspberrypi,5-model-b") is None
    assert find_board(machines.plain_cpu(tmp_path / "empty")) is None


def test_in_a_container_the_package_tells(tmp_path: Path) -> None:
    status = (
        "Package: nvidia-l4t-core\nStatus: install ok installed\nArchitecture: arm64\n"
        "Version: 36.4.3-20250107174145\n\n"
    )
    found = find_board(machines.system(tmp_path, {}, files={"/var/lib/dpkg/status": status}))
    assert found is not None
    assert found.l4t == "36.4.3"
    assert found.jetpack == "6.2"


def test_the_recipes_it_names_are_there(tmp_path: Path) -> None:
    shipped = {recipe.name for recipe in recipes()}
    assert set(_RECIPES.values()) <= shipped
    old = board(
        tmp_path, "NVIDIA Orin Nano Developer Kit", "# R36 (release), REVISION: 3.0, GCID: 1"
    )
    assert old.recipe == "orin-jetpack60-fp16"
    assert old.recipe in shipped
