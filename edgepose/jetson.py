"""Which Jetson this is, and which software NVIDIA puts on it.

The tables are from NVIDIA's JetPack pages and from what owners of boards report of their own; none
of it was read off a board by us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepose.system import System

__all__ = ["Board", "find_board"]

# Jetson Linux (L4T) -> JetPack, and the TensorRT in it. Longest match first.
_JETPACKS = (
    ("36.2", "6.0 DP", "8.6"),
    ("36.3", "6.0", "8.6"),
    ("36.4.0", "6.1", "10.3"),
    ("36.4.2", "6.1", "10.3"),
    ("36.4.3", "6.2", "10.3"),
    ("36.4", "6.2.1", "10.3"),
    ("36.5", "6.2.2", "10.3"),
    ("38.2", "7.0", "10.13"),
    ("38.4", "7.1", "10.13"),
    ("39.2", "7.2", "10.16"),
)
_MAJORS = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}
# Module's part number, then words of the model's name; the first that fits.
_MODULES = (
    ("thor", r"p3834-", r"\bthor\b"),
    ("orin-nx", r"p3767-000[01]", r"\borin nx\b"),
    ("orin-nano", r"p3767-000[345]", r"\borin nano\b"),
    ("agx-orin", r"p3701-", r"\bagx orin\b"),
    ("xavier", r"p2888-|p3668-", r"\bxavier\b|jetson-agx"),
    ("nano or TX2", r"p3448-|p3310-|p3489-|p3636-", r"\bjetson nano\b|\btx2\b"),
)
_RECIPES = {
    "thor": "thor-fp16",
    "orin-nx": "orin-nx-fp16",
    "orin-nano": "orin-nano-fp16",
    "agx-orin": "agx-orin-fp16",
}


@dataclass(frozen=True, kw_only=True)
class Board:
    """A Jetson.

    Attributes:
        model: As the board calls itself.
        module: ``orin-nano``, ``orin-nx``, ``agx-orin``, ``thor``, ``xavier`` or ``nano or TX2``;
            empty for one that is not known here.
        l4t: Jetson Linux's version, e.g. ``36.4.3``; empty if it does not say (in a container).
        jetpack: JetPack's, e.g. ``6.2``; only the major version for a release not known here.
        tensorrt: TensorRT that JetPack carries, e.g. ``10.3``; empty where not known here.
    """

    model: str
    module: str
    l4t: str
    jetpack: str
    tensorrt: str

    @property
    def out_of_range(self) -> bool:
        """Whether its JetPack is too old for edgepose's TensorRT side."""
        return self.jetpack.split(".")[0] in ("4", "5")

    @property
    def recipe(self) -> str:
        """The recipe to begin with; empty if there is none for it."""
        if self.out_of_range:
            return ""
        if self.tensorrt == "8.6":
            return "orin-jetpack60-fp16"
        return _RECIPES.get(self.module, "")


def find_board(system: System) -> Board | None:
    """The Jetson, or None where this is none."""
    model = system.read("/proc/device-tree/model")
    compatible = system.read("/proc/device-tree/compatible").replace("\0", " ")
    l4t = _l4t(system)
    if not l4t and "nvidia,tegra" not in compatible and "jetson" not in model.lower():
        return None
    jetpack, tensorrt = _jetpack(l4t)
    package = _package_version(system, "nvidia-jetpack")
    if package:  # says it itself, where it is installed
        jetpack = package.split("+")[0].split("-")[0]
    return Board(
        model=model or "a Jetson that does not tell its model",
        module=_module(model.lower(), compatible),
        l4t=l4t,
        jetpack=jetpack,
        tensorrt=tensorrt,
    )


def _l4t(system: System) -> str:
    # "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, ..."
    text = system.read("/etc/nv_tegra_release")
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    if match:
        return f"{match[1]}.{match[2]}"
    return _package_version(system, "nvidia-l4t-core").split("-")[0]


def _jetpack(l4t: str) -> tuple[str, str]:
    for release, jetpack, tensorrt in sorted(_JETPACKS, key=lambda row: -len(row[0])):
        if l4t == release or l4t.startswith(f"{release}."):
            return jetpack, tensorrt
    return _MAJORS.get(l4t.split(".")[0], ""), ""


def _package_version(system: System, name: str) -> str:
    """Version of an installed Debian package, without running dpkg."""
    status = system.read("/var/lib/dpkg/status")
    match = re.search(
        rf"^Package: {re.escape(name)}\nStatus: install ok installed\n(?:.+\n)*?Version: (\S+)",
        status,
        re.MULTILINE,
    )
    return match[1] if match else ""


def _module(model: str, compatible: str) -> str:
    by_number = (name for name, number, _ in _MODULES if re.search(number, compatible))
    by_words = (name for name, _, words in _MODULES if re.search(words, model))
    return next(by_number, "") or next(by_words, "")
