"""What is measured, in the order of its worth, with a guess of what each step takes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.bundle import Bundle, Model

__all__ = ["BATCHES", "KINDS", "PROFILE", "Step", "engine_file", "make_plan"]

PROFILE = (1, 4, 16)
BATCHES = (1, 4, 16, 64)
# Kind of step -> kind of record that its row stands in.
KINDS = {
    "machine": "gpu-machine",
    "build": "gpu-engines",
    "parity": "gpu-engines",
    "device-path": "gpu-device-path",
    "latency": "gpu-latency",
    "accuracy": "gpu-accuracy",
}
# Seconds: guesses, corrected on the way (:mod:`benchmarks.gpu.budget`).
_MACHINE, _PARITY, _DEVICE_PATH, _ACCURACY = 15.0, 12.0, 90.0, 25.0
_LATENCY, _LATENCY_OF_ONE = 60.0, 7.0  # torch compiles for each batch size
# A build: base, and a node of the graph, whose kernels are tried in every precision allowed.
_BUILD = {"tensorrt": (15.0, {"fp32": 0.06}, 0.12), "tensorrt-rtx": (10.0, {}, 0.01)}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do, in a process of its own.

    Attributes:
        key: Names it in records.
        kind: Of :data:`KINDS`.
        product: The TensorRT that it is about; None for all or none.
        guess: Seconds it may take.
        task: For the process that does it.
        inputs: What its result depends on: a result with the same is not measured again.
        needs: Keys of the steps that make what it uses.
        makes: Engine file that it leaves; None for none.
        any_of: Whether one of its needs is enough.
    """

    key: str
    kind: str
    product: str | None
    guess: float
    task: Mapping[str, Any]
    inputs: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    makes: Path | None = None
    any_of: bool = field(default=False)


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes steps that share what a run was asked for."""

    bundle: Bundle
    versions: Mapping[str, str]
    gpu: str
    settings: Mapping[str, Any]
    contenders: Mapping[str, Any]

    def build(self, model: Model, precision: str, product: str) -> Step:
        graph = model.graphs[precision]
        base, rates, usual = _BUILD[product]
        return Step(
            key=_key("build", model, precision, product),
            kind="build",
            product=product,
            guess=round(base + graph.nodes * rates.get(precision, usual), 1),
            task=self._task(model, precision, product) | {"settings": dict(self.settings)},
            inputs=self._inputs(model, precision, product),
            makes=self._engine(model, precision, product),
        )

    def parity(self, model: Model, precision: str, product: str) -> Step:
        return Step(
            key=_key("parity", model, precision, product),
            kind="parity",
            product=product,
            guess=_PARITY,
            task=self._task(model, precision, product),
            inputs=self._inputs(model, precision, product) | {"people": self._digest(model.people)},
            needs=(_key("build", model, precision, product),),
        )

    def accuracy(self, model: Model, precision: str, product: str) -> Step:
        return Step(
            key=_key("accuracy", model, precision, product),
            kind="accuracy",
            product=product,
            guess=_ACCURACY,
            task=self._task(model, precision, product),
            inputs=self._inputs(model, precision, product) | {"coco": self._coco()},
            needs=(_key("build", model, precision, product),),
        )

    def device_path(self, model: Model, precision: str, product: str) -> Step:
        return Step(
            key=f"device-path/{product}",
            kind="device-path",
            product=product,
            guess=_DEVICE_PATH,
            task=self._task(model, precision, product),
            inputs=self._inputs(model, precision, product),
            needs=(_key("build", model, precision, product),),
        )

    def latency(self, model: Model, products: Sequence[str]) -> Step:
        precisions = [p for p, graph in model.graphs.items() if graph.file]
        engines = {
            f"{product} {precision}": str(self._engine(model, precision, product))
            for product in products
            for precision in precisions
        }
        inputs: dict[str, Any] = {}
        for product in products or (None,):
            for precision in precisions:
                inputs |= {
                    f"{name} {precision}" if name == "onnx_sha256" else name: value
                    for name, value in self._inputs(model, precision, product).items()
                    if name != "version"
                }
        return Step(
            key="/".join(["latency", model.name, *products]),
            kind="latency",
            product=None,
            # Each product has a contender per precision, and two with graphs; torch has three.
            guess=_LATENCY + _LATENCY_OF_ONE * (5 + (len(precisions) + 2) * len(products)),
            task=self._task(model, None, None) | {"engines": engines, "batches": BATCHES},
            inputs=inputs | {"versions": dict(self.versions), "contenders": dict(self.contenders)},
            needs=tuple(
                _key("build", model, precision, product)
                for product in products
                for precision in precisions
            ),
            any_of=True,
        )

    def _task(self, model: Model, precision: str | None, product: str | None) -> dict[str, Any]:
        engine = None
        if precision is not None and product is not None:
            engine = str(self._engine(model, precision, product))
        return {
            "bundle": [str(folder) for folder in self.bundle.folders],
            "work": str(self.bundle.work),
            "model": model.name,
            "precision": precision,
            "product": product,
            "engine": engine,
            "profile": PROFILE,
            "contenders": dict(self.contenders),
        }

    def _inputs(self, model: Model, precision: str, product: str | None) -> dict[str, Any]:
        file = model.graphs[precision].file
        return {
            "gpu": self.gpu,
            "onnx_sha256": None if file is None else self._digest(file),
            "settings": dict(self.settings),
            **({} if product is None else {"version": self.versions[product]}),
        }

    def _digest(self, file: str) -> str:
        return self.bundle.manifest.files[file].sha256

    def _coco(self) -> str | None:
        coco = self.bundle.manifest.coco
        return None if coco is None else self._digest(coco)

    def _engine(self, model: Model, precision: str, product: str) -> Path:
        return engine_file(self.bundle.work, model.name, precision, product, self.versions[product])


def engine_file(work: Path, model: str, precision: str, product: str, version: str) -> Path:
    """Where an engine lies."""
    return work / "engines" / f"{product}-{version}" / f"{model}-{precision}.engine"


def make_plan(
    bundle: Bundle,
    versions: Mapping[str, str],
    gpu: str,
    *,
    settings: Mapping[str, Any] | None = None,
    contenders: Mapping[str, Any] | None = None,
    models: Sequence[str] | None = None,
) -> list[Step]:
    """All steps, the most valuable first.

    The first model goes through everything before the second begins, and its FP16 engine before its
    others: a run that ends early then leaves an answer to every question, for one model at least.

    Args:
        bundle: What was carried here.
        versions: Product -> version, of those that are installed.
        gpu: Name of the GPU.
        settings: For the builder, beside the defaults of edgepose.
        contenders: What the contenders of latency are told, see :mod:`benchmarks.gpu.contenders`.
        models: Which of the bundle's models; all by default.
    """
    make = _Maker(
        bundle=bundle,
        versions=versions,
        gpu=gpu,
        settings=settings or {},
        contenders=contenders or {},
    )
    task = {"contenders": dict(contenders or {})}
    machine = Step(
        key=f"machine/python-{platform.python_version()}",
        kind="machine",
        product=None,
        guess=_MACHINE,
        task=task,
        inputs={"gpu": gpu, "versions": dict(versions), **task},
    )
    steps = [machine]
    products = list(versions)
    chosen = [m for m in bundle.manifest.models if models is None or m.name in models]
    for turn, model in enumerate(chosen):
        precisions = sorted(model.graphs, key=_worth)
        for place, precision in enumerate(precisions):
            for product in products:
                steps.append(make.build(model, precision, product))
                steps.append(make.parity(model, precision, product))
            if turn == 0 and place == 0:
                steps += [make.device_path(model, precision, product) for product in products]
        steps.append(make.latency(model, products))
        for precision in precisions:
            steps += [make.accuracy(model, precision, product) for product in products]
    return steps


def _worth(precision: str) -> int:
    """FP16 is what most will run, INT8 what most doubt; FP32 tells whose fault it is."""
    order = ("fp16", "int8", "int8-fp16", "fp32")
    return order.index(precision)


def _key(kind: str, model: Model, precision: str, product: str) -> str:
    return f"{kind}/{model.name}/{precision}/{product}"
