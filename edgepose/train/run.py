"""From data sets and a model's name to a finished run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from edgepose.errors import DatasetError, InputError, OutputError, require
from edgepose.files import write_text
from edgepose.models import build, parse_name, spec_for
from edgepose.train.annotations import (
    PersonSet,
    Record,
    guard_holdout,
    load_holdout,
    read_set,
    split_fold,
)
from edgepose.train.batches import BatchSource
from edgepose.train.distributed import Processes, join_processes, leave_processes
from edgepose.train.loop import Listener, Outcome, Trainer
from edgepose.train.recipe import Recipe
from edgepose.train.store import PersonStore, StoreShape, default_cache, open_store, store_shape

__all__ = ["train"]

Packing = Callable[[str, int, int], None]


def train(
    model: str,
    data: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    holdout: Path | None = None,
    init: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    checkpoint_minutes: float = 5.0,
    listener: Listener | None = None,
    packing: Packing | None = None,
) -> Outcome:
    """Train a registry model.

    Leaves in ``out``: ``<model>.safetensors`` (averaged weights, FP16), ``checkpoint.pt``,
    ``log.jsonl``, ``curve.png`` and ``recipe.json``. Started by torchrun, it is one process of
    several.

    Args:
        model: Registry name, optionally with an input size: ``mitpose-lite@128x96``.
        data: COCO-format sets; see :func:`edgepose.train.annotations.read_set`.
        out: Folder for the results.
        recipe: All settings.
        holdout: JSON list of photos that must not be in the data. The weights then say that
            their AP may only be measured on the edgepose hold-out.
        init: Weights to begin with.
        resume: Go on from the checkpoint in ``out``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cache: Folder for packed sets.
        checkpoint_minutes: Time between checkpoints.
        listener: Who is told of progress.
        packing: Called with (set, persons done, persons in all) while a set is packed.

    Raises:
        DatasetError: Data that cannot be read, or that holds photos of the hold-out.
        OutputError: ``out`` holds another run and ``resume`` is not given.
        EdgeposeError: As in :meth:`Trainer.run` and :meth:`Trainer.resume`.
    """
    name, input_size = parse_name(model)
    spec = spec_for(name, input_size)
    if not resume and (out / "checkpoint.pt").exists():
        raise OutputError(
            f"{out} already holds a run",
            hint="add --resume to go on with it, or take another --out",
        )
    # Needed at the first validation, which may be hours away: better to know now.
    require("matplotlib", "train")
    if recipe.fold > 0:
        require("pycocotools", "train")
    sets = [read_set(location, spec.keypoints) for location in data]
    if holdout is not None:
        guard_holdout(sets, load_holdout(holdout))
    processes = join_processes(device)
    try:
        shape = store_shape(input_size, spec.padding)
        stores = _open_all(sets, shape, cache or default_cache(), processes, packing)
        splits = [split_fold(one.records, recipe.fold, recipe.seed) for one in sets]
        fold: list[Record] = [
            one.records[i] for one, (_, held) in zip(sets, splits, strict=True) for i in held
        ]
        chosen = [kept for kept, _ in splits]
        _check_batch(recipe.batch, sum(len(kept) for kept in chosen), processes.world)
        counts = {one.name: len(kept) for one, kept in zip(sets, chosen, strict=True)}
        trained_on = _sentence(counts)
        source = BatchSource(
            stores,
            chosen,
            batch=recipe.batch,
            seed=recipe.seed,
            rank=processes.rank,
            world=processes.world,
            pin=processes.device.type == "cuda",
        )
        try:
            trainer = Trainer(
                lambda size: build(name, size, len(spec.keypoints)),
                spec,
                recipe,
                source,
                shape,
                fold,
                out,
                data=[one.digest for one in sets],
                trained_on=trained_on,
                holdout_only=holdout is not None,
                processes=processes,
                checkpoint_minutes=checkpoint_minutes,
                listener=listener,
            )
            if resume:
                trainer.resume()
            elif init is not None:
                trainer.start_from(init)
            if processes.first:
                facts = {
                    "model": name,
                    "input_size": list(input_size),
                    "trained_on": counts,
                    "validation_fold": len(fold),
                    "init": str(init) if init else None,
                    "recipe": recipe.to_dict(),
                }
                write_text(out / "recipe.json", json.dumps(facts, indent=2) + "\n")
            return trainer.run()
        finally:
            source.close()
    finally:
        leave_processes(processes)


def _open_all(
    sets: Sequence[PersonSet],
    shape: StoreShape,
    cache: Path,
    processes: Processes,
    packing: Packing | None,
) -> list[PersonStore]:
    """Open every set; the first process packs what is not packed yet, the others wait for it."""

    def open_each() -> list[PersonStore]:
        stores = []
        for one in sets:

            def report(done: int, count: int, name: str = one.name) -> None:
                if packing is not None:
                    packing(name, done, count)

            stores.append(open_store(one, shape, cache, report))
        return stores

    if processes.first:
        stores = open_each()
        processes.any(False)
        return stores
    processes.any(False)
    return open_each()


def _check_batch(batch: int, persons: int, world: int) -> None:
    if persons < batch:
        raise DatasetError(
            "the data is too small",
            f"{persons} persons to train on, a batch takes {batch}",
            "lower batch in the recipe",
        )
    if batch % world or batch // world < 2:
        raise InputError(
            f"a batch of {batch} cannot be shared by {world} processes",
            "each takes an equal part, of at least 2 persons",
            f"set batch = {max(2, batch // world) * world} in the recipe",
        )


def _sentence(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return f"{sum(counts.values())} persons: {listed}"
