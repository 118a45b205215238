"""From data sets and a model's name to a finished run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgepose.errors import ArtefactError, DatasetError, InputError, OutputError, require
from edgepose.evaluate.holdout import HOLDOUT_NAME
from edgepose.files import write_text
from edgepose.models import build, parse_name, spec_for
from edgepose.train.annotations import (
    PersonSet,
    Record,
    guard_holdout,
    guard_packaged_holdout,
    has_coco_names,
    load_holdout,
    packaged_holdout_photos,
    read_set,
    split_fold,
)
from edgepose.train.batches import BatchSource
from edgepose.train.distributed import Processes, join_processes, leave_processes
from edgepose.train.loop import Listener, Outcome, Trainer
from edgepose.train.recipe import Recipe
from edgepose.train.schedule import check_stages
from edgepose.train.store import PersonStore, StoreShape, default_cache, open_store, store_shape
from edgepose.zoo import find

__all__ = ["init_of", "train"]

FACTS = "recipe.json"

Packing = Callable[[str, int, int], None]


def train(
    model: str,
    data: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    holdout: Path | None = None,
    allow_holdout: bool = False,
    init: Path | str | None = None,
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

    Photos of the edgepose hold-out are refused in every set whose photos are named as COCO names
    its own, for AP is quoted on them. The weights say ``holdout_only`` as soon as any photo has
    such a name: names do not tell train2017 from val2017, and a val2017 photo seen in training
    makes the AP on the rest of val2017 a lie. To claim too little is the error that can be lived
    with.

    Args:
        model: Registry name, optionally with an input size: ``mitpose-lite@128x96``.
        data: COCO-format sets; see :func:`edgepose.train.annotations.read_set`.
        out: Folder for the results.
        recipe: All settings.
        holdout: JSON list of further photos that must not be in the data. The weights then say
            ``holdout_only`` too: who keeps a list has photos of the same origin in the data.
        allow_holdout: Train on photos of the edgepose hold-out too. ``trained_on`` then says how
            many there were. Does not lift ``holdout``.
        init: Weights to begin with: a file, or a name in the zoo.
        resume: Go on from the checkpoint in ``out``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cache: Folder for packed sets.
        checkpoint_minutes: Time between checkpoints.
        listener: Who is told of progress.
        packing: Called with (set, persons done, persons in all) while a set is packed.

    Raises:
        DatasetError: Data that cannot be read, or that holds photos of the hold-out.
        OutputError: ``out`` holds another run and ``resume`` is not given.
        InputError: ``init`` is neither a file nor in the zoo, or not what the run to be resumed
            began with; or the model cannot go through the recipe's stages.
        EdgeposeError: As in :meth:`Trainer.run` and :meth:`Trainer.resume`.
    """
    name, input_size = parse_name(model)
    spec = spec_for(name, input_size)
    # A later stage may be hours away: better to know now.
    check_stages(recipe.stages, input_size, lambda size: spec_for(name, size))
    if not resume and (out / "checkpoint.pt").exists():
        raise OutputError(
            f"{out} already holds a run",
            hint="add --resume to go on with it, or take another --out",
        )
    weights = None if init is None else _weights(init)
    begun_with = None if init is None else str(init)
    if resume:
        begun_with = init_of(out)
        if weights is not None and (out / FACTS).is_file() and weights != _known(begun_with):
            raise InputError(
                f"the run in {out} did not begin with {init}",
                f"it began with {begun_with or 'random weights'}",
                "leave --init out to go on with it, or begin a new --out",
            )
    # Needed at the first validation, which may be hours away: better to know now.
    require("matplotlib", "train")
    if recipe.fold > 0:
        require("pycocotools", "train")
    sets = [read_set(location, spec.keypoints) for location in data]
    if not allow_holdout:
        guard_packaged_holdout(sets)
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
        seen = (one.records[i] for one, kept in zip(sets, chosen, strict=True) for i in kept)
        trained_on = _sentence(counts, seen)
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
                holdout_only=holdout is not None or any(has_coco_names(one) for one in sets),
                processes=processes,
                checkpoint_minutes=checkpoint_minutes,
                listener=listener,
            )
            if resume:
                trainer.resume()
            elif weights is not None:
                trainer.start_from(weights)
            if processes.first:
                facts = {
                    "model": name,
                    "input_size": list(input_size),
                    "trained_on": counts,
                    "validation_fold": len(fold),
                    "init": begun_with,
                    "recipe": recipe.to_dict(),
                }
                write_text(out / FACTS, json.dumps(facts, indent=2) + "\n")
            return trainer.run()
        finally:
            source.close()
    finally:
        leave_processes(processes)


def init_of(out: Path) -> str | None:
    """The weights that the run in a folder began with, as given; None if it began with none.

    Raises:
        InputError: The folder's recipe.json is damaged.
    """
    facts = out / FACTS
    if not facts.is_file():
        return None
    try:
        init = json.loads(facts.read_text())["init"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"cannot read {facts}",
            f"{type(error).__name__}: {error}",
            "delete it; it is written again, without the weights that the run began with",
        ) from error
    return None if init is None else str(init)


def _weights(init: Path | str) -> Path:
    """The file, or the zoo's of that name."""
    path = Path(init)
    if path.suffix or path.is_file():
        return path.resolve()
    try:
        return find(str(init)).weights.resolve()
    except ArtefactError as error:
        raise InputError(
            f"there are no weights '{init}' to begin with",
            f"there is no such file, and {error.what}",
            "give a file of weights: --init FILE.safetensors",
        ) from error


def _known(begun_with: str | None) -> Path | None:
    """:func:`_weights` of what a run says it began with; the zoo may have lost it since."""
    try:
        return None if begun_with is None else _weights(begun_with)
    except InputError:
        return None


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


def _sentence(counts: dict[str, int], seen: Iterable[Record]) -> str:
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    sentence = f"{sum(counts.values())} persons: {listed}"
    leaked = len(packaged_holdout_photos(seen))
    if leaked:
        sentence += f"; includes {leaked} photo{'s' * (leaked > 1)} of {HOLDOUT_NAME}"
    return sentence
