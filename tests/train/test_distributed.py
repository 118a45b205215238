"""Two CPU processes, as torchrun starts them, train one tiny model together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from edgepose.errors import DeviceError
from edgepose.train.distributed import join_processes
from edgepose.train.log import read_log
from tests.train.helpers import make_set

WORKER = """
import hashlib, json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from edgepose.train.annotations import read_set
from edgepose.train.batches import BatchSource
from edgepose.train.distributed import join_processes, leave_processes
from edgepose.train.loop import Listener, Trainer
from edgepose.train.recipe import Recipe
from edgepose.train.store import StoreShape, open_store
from tests.train.helpers import INPUT, KEYPOINTS, TinyNet, heatmap_spec

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
processes = join_processes("cpu")
shape = StoreShape((96, 72), 1.8)
people = read_set(folder, KEYPOINTS)
store = open_store(people, shape, out / f"cache{processes.rank}")
recipe = Recipe(epochs=8, batch=6, bf16="off", validations=2, learning_rate=0.01)
source = BatchSource(
    [store], [range(len(store))], batch=6, seed=0, rank=processes.rank, world=processes.world
)
trainer = Trainer(
    TinyNet, heatmap_spec(INPUT), recipe, source, shape, (), out / "run",
    data=[people.digest], trained_on="dots", processes=processes,
)
gradients, steps = [], []
step = trainer.optimiser.step
def watched(*args, **kwargs):
    gradients.append(torch.cat([p.grad.flatten() for p in trainer.module.parameters()]))
    return step(*args, **kwargs)
trainer.optimiser.step = watched
train_step = trainer._train_step
trainer._train_step = lambda done: steps.append(train_step(done)) or steps[-1]
outcome = trainer.run()
def digest(tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()
report = {
    "rank": processes.rank, "world": processes.world, "steps": outcome.step,
    "gradients": digest(gradients), "norms": [g.norm().item() for g in gradients],
    "weights": digest(trainer.module.parameters()),
    "losses": [loss.item() for loss, _ in steps], "seen": source.load(0)[1].sum().item(),
}
(out / f"rank{processes.rank}.json").write_text(json.dumps(report))
source.close()
leave_processes(processes)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_take_the_same_steps(tmp_path: Path, repo_root: Path):
    make_set(tmp_path / "set", 12)
    environment = {
        **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo_root),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "set"), str(tmp_path)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    talk = [p.communicate(timeout=120)[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], "\n".join(talk)
    first, second = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in range(2))
    assert first["steps"] == second["steps"] == 16
    # Each saw other people, yet both hold the averaged gradients and so the same weights.
    assert first["seen"] != second["seen"]
    assert min(first["norms"]) > 0
    assert first["gradients"] == second["gradients"]
    assert first["weights"] == second["weights"]
    losses = [sum(pair) / 2 for pair in zip(first["losses"], second["losses"], strict=True)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    # One of them wrote the log, once.
    assert [e["step"] for e in read_log(tmp_path / "run" / "log.jsonl")] == [16]


def test_the_others_wait_for_hours_while_the_first_packs(monkeypatch):
    asked = {}

    def init(backend, **options):
        asked.update(options, backend=backend)

    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert join_processes("cpu").rank == 1
    assert asked == {"backend": "gloo", "timeout": timedelta(hours=12)}


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = join_processes("cpu")
    assert (processes.rank, processes.world, processes.first) == (0, 1, True)
    assert processes.agree(1.5, 2.0) == (1.5, 2.0)
    assert processes.any(True) is True
    assert processes.any(False) is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(DeviceError, match="'cuda' is not available"):
        join_processes("cuda")
    assert join_processes("auto").device.type == "cpu"
