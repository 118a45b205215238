"""A packed tiny set and a way to make trainers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from edgepose.train.annotations import PersonSet, read_set
from edgepose.train.batches import BatchSource
from edgepose.train.distributed import Processes
from edgepose.train.loop import Trainer
from edgepose.train.recipe import Augmentation, Recipe
from edgepose.train.store import PersonStore, StoreShape, open_store
from tests.train.helpers import INPUT, KEYPOINTS, TinyNet, heatmap_spec, make_set

SHAPE = StoreShape((96, 72), 1.8)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[PersonSet, PersonStore]:
    folder = tmp_path_factory.mktemp("set")
    people = read_set(make_set(folder, 12), KEYPOINTS)
    return people, open_store(people, SHAPE, folder / "cache")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_trainer(
    packed: tuple[PersonSet, PersonStore], tmp_path: Path
) -> Iterator[Callable[..., Trainer]]:
    people, store = packed
    sources = []

    def make(recipe: Recipe | None = None, **changes: object) -> Trainer:
        recipe = recipe or Recipe(epochs=3, batch=4, bf16="off", validations=2)
        source = BatchSource([store], [range(len(store))], batch=recipe.batch, seed=recipe.seed)
        sources.append(source)
        options = {
            "make": TinyNet, "spec": heatmap_spec(INPUT), "out": tmp_path / "run",
            "fold": people.records[:4], "data": [people.digest], "trained_on": "dots",
            "processes": Processes(0, 1, torch.device("cpu")), **changes,
        }  # fmt: skip
        return Trainer(recipe=recipe, source=source, shape=SHAPE, **options)

    yield make
    for source in sources:
        source.close()


@pytest.fixture
def plain() -> Augmentation:
    return Augmentation.none()
