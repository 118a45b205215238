from __future__ import annotations

import numpy as np

from edgepose.train.batches import BatchSource, step_indices
from edgepose.train.store import PersonStore, StoreShape


def make_store(count: int, first: int) -> PersonStore:
    numbers = np.arange(first, first + count)
    pixels = np.broadcast_to(numbers[:, None, None, None], (count, 4, 3, 3)).astype(np.uint8)
    joints = np.broadcast_to(numbers[:, None, None], (count, 2, 3)).astype(np.float32)
    return PersonStore(StoreShape((4, 3), 1.8), pixels, joints)


def test_each_pass_sees_everyone_once_in_another_order():
    seen = np.concatenate([step_indices(0, step, 4, 10) for step in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    assert (step_indices(0, 3, 4, 10) == step_indices(0, 3, 4, 10)).all()
    assert (step_indices(1, 0, 10, 10) != step_indices(0, 0, 10, 10)).any()


def test_reads_the_chosen_people_of_several_sets():
    source = BatchSource(
        [make_store(5, 0), make_store(6, 100)], [[0, 2, 4], [1, 5]], batch=5, seed=0
    )
    assert len(source) == 5
    assert source.steps_per_epoch == 1
    for step in (0, 1, 0, 7):
        pixels, joints = source.load(step)
        assert sorted(joints[:, 0, 0].tolist()) == [0, 2, 4, 101, 105]
        assert (pixels[:, 0, 0, 0].float() == joints[:, 0, 0]).all()
    source.close()


def test_processes_share_a_step():
    def read(rank: int, world: int) -> list[float]:
        source = BatchSource(
            [make_store(20, 0)], [range(20)], batch=8, seed=1, rank=rank, world=world
        )
        values = source.load(3)[1][:, 0, 0].tolist()
        source.close()
        return values

    halves = [read(0, 2), read(1, 2)]
    assert [len(h) for h in halves] == [4, 4]
    assert sorted(halves[0] + halves[1]) == sorted(read(0, 1))
