"""A run: look at the machine, make the plan, go through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.bundle import Bundle
from benchmarks.gpu.conduct import Launch, conduct, pending
from benchmarks.gpu.journal import Journal, folder_name
from benchmarks.gpu.launch import launch
from benchmarks.gpu.plan import Step, make_plan
from benchmarks.gpu.products import Products, find_products
from edgepose.bench import fingerprint
from edgepose.engine import BuildOptions
from edgepose.errors import InputError
from edgepose.trt.gpu import Gpu, find_gpu, read_gpu

__all__ = ["Asked", "check", "dry_run"]

# Of the time, for stopping what is being done at its end and writing it down.
_RESERVE_S = 20.0
# Planned without a GPU: as if both products were here.
_UNKNOWN = "unknown"
_PYTHONS = ("torch", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a run was asked for.

    Attributes:
        folders: The bundle, or its parts.
        out: Folder for records; the hardware's own is made in it.
        work: Folder for engines; beside the bundle by default.
        minutes: Time for it.
        models: Some of the bundle's models; all by default.
        settings: For the builder.
        pythons: Interpreters for contenders that are not in this one.
        retry: Whether what failed before is tried again.
        command: What was typed.
    """

    folders: tuple[Path, ...]
    out: Path
    work: Path | None
    minutes: float
    models: tuple[str, ...] | None
    settings: Mapping[str, Any]
    pythons: Mapping[str, str]
    retry: bool
    command: str

    def open(self) -> Bundle:
        """The bundle, and everything else that was typed, checked.

        Raises:
            InputError: Something of it cannot be used.
        """
        bundle = Bundle(self.folders, self.work or self.folders[0] / "work")
        known = [model.name for model in bundle.manifest.models]
        for name in self.models or ():
            if name not in known:
                raise InputError(f"the bundle has no '{name}'", f"it has {', '.join(known)}")
        for name in self.pythons:
            if name not in _PYTHONS:
                raise InputError(f"--python {name} means nothing", f"there is {_PYTHONS}")
        if 60 * self.minutes <= _RESERVE_S:
            raise InputError(f"{self.minutes:g} minutes are no time", None, "--minutes 9")
        BuildOptions.from_settings(self.settings)
        return bundle

    def plan(self, bundle: Bundle, versions: Mapping[str, str], gpu: str) -> list[Step]:
        """The steps."""
        return make_plan(
            bundle,
            versions,
            gpu,
            settings=self.settings,
            contenders={"pythons": dict(self.pythons)},
            models=self.models,
        )


def check(
    asked: Asked,
    say: Callable[[str], None],
    *,
    do: Launch = launch,
    products: Callable[[], Products] = find_products,
    gpu: Callable[[], Gpu] = read_gpu,
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Measure everything that there is time for.

    Returns:
        The rows of all steps, of earlier runs too, and the records that hold them.

    Raises:
        InputError: What was asked for cannot be used.
        DeviceError: There is no GPU.
        OutputError: A record cannot be written.
    """
    budget = Budget(60 * asked.minutes - _RESERVE_S)
    here = gpu()
    bundle = asked.open()
    found = products()
    for product, words in found.absent.items():
        say(f"{product} is not here, because {words}")
    environment = fingerprint()
    folder = asked.out / folder_name(environment, here)
    journal = Journal(folder, asked.command, found.versions, environment)
    plan = asked.plan(bundle, found.versions, here.name)
    say(f"{here.name}: {len(pending(plan, journal, retry=asked.retry))} of {len(plan)} steps to do")
    rows = conduct(plan, journal, budget, do, say, retry=asked.retry)
    return rows, journal.paths()


def dry_run(asked: Asked, say: Callable[[str], None]) -> list[Step]:
    """The plan as it would be on a machine with both products, or on this one if it has a GPU.

    Raises:
        InputError: What was asked for cannot be used.
    """
    bundle, gpu = asked.open(), find_gpu()
    if gpu is None:
        say("no GPU is here: this is the plan for a machine that has one, with both products")
        return asked.plan(bundle, {"tensorrt": _UNKNOWN, "tensorrt-rtx": _UNKNOWN}, _UNKNOWN)
    return asked.plan(bundle, find_products().versions, gpu.name)
