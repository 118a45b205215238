from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from edgepose.errors import EdgeposeError, InputError, OutputError, WeightsError
from edgepose.estimator import Estimator
from edgepose.images import read_image
from edgepose.models import load_weights
from edgepose.models.simcc import SimCC
from edgepose.runtime.torch import TorchRunner
from edgepose.train.checkpoint import load_checkpoint
from edgepose.train.log import read_log
from edgepose.train.loop import Listener, Trainer
from edgepose.train.recipe import Augmentation, Recipe, Stage
from tests.train.helpers import INPUT, TinyNet, heatmap_spec, simcc_spec

RECIPE = Recipe(epochs=4, batch=4, bf16="off", validations=2)


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that the next step depends on, as tensors."""
    tensors = {f"model.{k}": v for k, v in trainer.module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in trainer.ema.module.state_dict().items()}
    for number, moments in trainer.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": v for k, v in moments.items()}
    return {k: v.clone() for k, v in tensors.items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [k for k in a if not torch.equal(a[k], b[k])]
    assert not different


class Noisy(TinyNet):
    """With dropout, so that torch's own generator matters."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(nn.functional.dropout(images, 0.2, self.training))


@pytest.mark.parametrize(
    "stages", [(), (Stage(0.0, (32, 24)), Stage(0.3, INPUT))], ids=["one-size", "growing"]
)
def test_resuming_is_exact(make_trainer, tmp_path, stages):
    recipe = replace(RECIPE, stages=stages)  # 12 steps in all; the stage changes at step 4
    straight = make_trainer(recipe, make=Noisy, out=tmp_path / "a")
    straight.run(max_steps=6)
    expected = state(straight)
    first = make_trainer(recipe, make=Noisy, out=tmp_path / "b")
    first.run(max_steps=3)
    torch.manual_seed(999)  # what the interruption does to the generator must not matter
    second = make_trainer(recipe, make=Noisy, out=tmp_path / "b")
    second.resume()
    assert second.step == 3
    torch.rand(10)
    second.resume()
    second.run(max_steps=3)
    assert second.step == straight.step == 6
    assert second.ema.updates == straight.ema.updates
    assert_same(state(second), expected)


def test_overfits_a_handful_of_people(make_trainer, packed, tmp_path):
    recipe = Recipe(
        epochs=60, batch=4, bf16="off", validations=1, learning_rate=0.01, ema=0.9, weight_decay=0,
        augmentation=Augmentation.none(),
    )  # fmt: skip
    trainer = make_trainer(recipe)
    outcome = trainer.run()
    assert outcome.finished
    assert outcome.step == 180
    entries = read_log(tmp_path / "run" / "log.jsonl")
    losses = [e["loss"] for e in entries if "loss" in e]
    assert losses[-1] < 0.2 * losses[0]
    # The weights that were written, through the inference path, find the joints.
    net = TinyNet()
    assert load_weights(net, tmp_path / "run" / "tiny.safetensors")["trained_on"] == "dots"
    estimate = Estimator(TorchRunner(net, heatmap_spec(INPUT)))
    errors = []
    for record in packed[0].records:
        poses = estimate(read_image(record.image), record.box[None])
        scale = 48 / 75  # crop pixels in an image pixel: a box 60 wide, padded to 75
        errors.append(np.linalg.norm(poses.keypoints[0] - record.joints[:, :2], axis=-1) * scale)
    # Joints whose dot another covers cannot be found; nearly all others are.
    assert np.median(errors) < 1
    assert (np.concatenate(errors) < 2).mean() > 0.9
    assert outcome.validation.ap50 > 80


def test_leaves_its_results(make_trainer, tmp_path):
    outcome = make_trainer(RECIPE).run()
    out = tmp_path / "run"
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint.pt", "curve.png", "log.jsonl", "tiny.safetensors",
    ]  # fmt: skip
    entries = read_log(out / "log.jsonl")
    validated = [e for e in entries if "ap" in e]
    assert [e["step"] for e in validated] == [6, 12]
    assert validated[-1]["val_loss"] == pytest.approx(outcome.validation.loss, abs=1e-4)
    assert 0 <= outcome.validation.ap <= outcome.validation.ap50 <= 100
    assert outcome.epochs == 4
    assert json.dumps(outcome.to_dict())


def test_grows_its_input_and_keeps_what_it_learned(make_trainer, tmp_path):
    recipe = replace(RECIPE, stages=(Stage(0.0, (32, 24)), Stage(0.5, INPUT)))
    trainer = make_trainer(recipe)
    trainer.run(max_steps=6)
    assert trainer.spec.input_size == (32, 24)
    before = trainer.module.head.weight.detach().clone()
    with torch.no_grad():
        trainer.module.position.fill_(0.5)
    updates = trainer.ema.updates
    trainer._enter_stage(1)
    assert trainer.spec.input_size == INPUT
    assert torch.equal(trainer.module.head.weight, before)
    assert trainer.module.position.shape[2:] == (16, 12)
    assert trainer.module.position.eq(0.5).all()
    assert trainer.ema.updates == updates
    trainer.run()
    sizes = {e["input"] for e in read_log(tmp_path / "run" / "log.jsonl")}
    assert sizes == {"32x24", "64x48"}


@pytest.mark.parametrize(
    ("stages", "spec", "why"),
    [
        ((Stage(0.0, (32, 24)),), heatmap_spec(INPUT), "the last is"),
        ((Stage(0.0, (32, 32)), Stage(0.5, INPUT)), heatmap_spec(INPUT), "aspect ratio"),
    ],
)
def test_stages_must_fit(make_trainer, stages, spec, why):
    with pytest.raises(InputError, match=why):
        make_trainer(replace(RECIPE, stages=stages), spec=spec)


def test_resume_refuses_another_run(make_trainer, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        make_trainer(RECIPE).resume()
    make_trainer(RECIPE).run(max_steps=1)
    with pytest.raises(InputError, match=r"recipe\.learning_rate"):
        make_trainer(replace(RECIPE, learning_rate=0.1)).resume()
    with pytest.raises(InputError, match="data"):
        make_trainer(RECIPE, data=["other"]).resume()
    longer = make_trainer(replace(RECIPE, epochs=8))
    longer.resume()
    assert longer.run().step == 24
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(WeightsError, match="damaged"):
        make_trainer(RECIPE).resume()


def test_checkpoints_hold_no_code(make_trainer, tmp_path):
    make_trainer(RECIPE).run(max_steps=2)
    saved = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert (saved.step, saved.model, saved.input_size) == (2, "tiny", INPUT)
    torch.save({"format": 1, "payload": Recipe}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="no checkpoint"):
        load_checkpoint(tmp_path / "evil.pt")


def test_checkpoints_come_by_the_clock(make_trainer, tmp_path):
    seen: list[bool] = []

    class Watch(Listener):
        def stepped(self, done: float, persons: int, seconds: float) -> None:
            seen.append((tmp_path / "run" / "checkpoint.pt").exists())

    make_trainer(replace(RECIPE, validations=0), listener=Watch(), checkpoint_minutes=0).run(4)
    assert seen == [False, True, True, True]


def test_a_listener_can_stop_it_and_the_run_goes_on(make_trainer):
    class Stop(Listener):
        steps = 0
        begun = False

        def started(self) -> None:
            assert self.steps == 0
            self.begun = True

        def stepped(self, done: float, persons: int, seconds: float) -> None:
            self.steps += 1

        def stopping(self) -> bool:
            assert self.begun
            return self.steps >= 5

    listener = Stop()
    stopped = make_trainer(RECIPE, listener=listener)
    assert not listener.begun
    outcome = stopped.run()
    assert (outcome.finished, outcome.step) == (False, 5)
    resumed = make_trainer(RECIPE)
    resumed.resume()
    assert_same(state(resumed), state(stopped))
    assert resumed.run().step == 12


def test_a_time_budget_counts_the_time_before_the_interruption(make_trainer):
    recipe = replace(RECIPE, epochs=None, minutes=0.02)
    first = make_trainer(recipe)
    first.run(max_steps=2)
    assert first.elapsed_s > 0
    second = make_trainer(recipe)
    second.resume()
    assert second.elapsed_s == first.elapsed_s
    outcome = second.run()
    assert outcome.finished
    assert outcome.minutes >= 0.02


def test_starts_from_weights(make_trainer, tmp_path):
    make_trainer(RECIPE).run(max_steps=2)
    fresh = make_trainer(RECIPE, out=tmp_path / "other")
    fresh.start_from(tmp_path / "run" / "tiny.safetensors")
    reference = TinyNet()
    load_weights(reference, tmp_path / "run" / "tiny.safetensors")
    assert torch.equal(fresh.module.head.weight, reference.head.weight)
    assert torch.equal(fresh.ema.module.head.weight, reference.head.weight)


def test_what_weights_have_seen_passes_on_to_their_children(make_trainer, tmp_path):
    make_trainer(RECIPE, trained_on="dots", holdout_only=True).run(max_steps=2)
    child = make_trainer(RECIPE, out=tmp_path / "child", trained_on="stripes")
    child.start_from(tmp_path / "run" / "tiny.safetensors")
    child.run(max_steps=1)
    resumed = make_trainer(RECIPE, out=tmp_path / "child", trained_on="stripes")
    resumed.resume()
    resumed.run(max_steps=2)
    facts = load_weights(TinyNet(), tmp_path / "child" / "tiny.safetensors")
    assert facts["trained_on"] == "stripes; begun with weights trained on dots"
    assert facts["holdout_only"] == "true"


def test_what_a_run_begins_with_is_judged_at_its_last_size(make_trainer, tmp_path):
    make_trainer(RECIPE).run(max_steps=2)
    weights = tmp_path / "run" / "tiny.safetensors"
    staged = replace(RECIPE, stages=(Stage(0.0, (32, 24)), Stage(0.5, INPUT)))
    found = []
    for number, recipe in enumerate((RECIPE, staged)):
        child = make_trainer(recipe, out=tmp_path / f"child{number}")
        child.start_from(weights)
        child.run(max_steps=0)  # ended before its first step
        assert child.elapsed_s < 0.5  # the look is no part of the budget
        again = make_trainer(recipe, out=tmp_path / f"child{number}")
        again.resume()
        found.append(again.run(max_steps=1).before)
    assert found[0] == found[1] is not None
    entry = read_log(tmp_path / "child1" / "log.jsonl")[0]
    assert (entry["step"], entry["minutes"], entry["input"]) == (0, 0, "64x48")


def test_divergence_ends_the_run_with_advice(make_trainer):
    trainer = make_trainer(RECIPE)
    with torch.no_grad():
        trainer.module.head.weight.fill_(float("nan"))
    with pytest.raises(EdgeposeError, match="diverged"):
        trainer.run(max_steps=2)


def test_a_folder_that_cannot_be_written(make_trainer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        make_trainer(RECIPE, out=tmp_path / "file" / "run").run(max_steps=1)


def test_bf16_trains_too(make_trainer):
    trainer = make_trainer(replace(RECIPE, bf16="on"))
    before = trainer.module.stem.weight.detach().clone()
    outcome = trainer.run(max_steps=3)
    assert trainer.module.stem.weight.dtype == torch.float32
    assert not torch.equal(before, trainer.module.stem.weight)
    assert np.isfinite(outcome.loss)


def tiny_simcc(input_size: tuple[int, int]) -> nn.Module:
    trunk = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(),
    )  # fmt: skip
    return SimCC(trunk, 16, num_keypoints=3, input_size=input_size)


@pytest.mark.parametrize(
    "stages", [(), (Stage(0.0, (32, 24)), Stage(0.5, INPUT))], ids=["one-size", "growing"]
)
def test_a_simcc_model_trains(make_trainer, tmp_path, stages):
    recipe = replace(
        RECIPE, epochs=20, learning_rate=0.01, augmentation=Augmentation.none(), stages=stages
    )
    make_trainer(recipe, make=tiny_simcc, spec=simcc_spec(INPUT)).run()
    losses = [e["loss"] for e in read_log(tmp_path / "run" / "log.jsonl") if "loss" in e]
    assert losses[-1] < 0.8 * losses[0]


def test_a_simcc_model_grows_and_keeps_what_it_learned(make_trainer):
    recipe = replace(RECIPE, stages=(Stage(0.0, (32, 24)), Stage(0.5, INPUT)))
    trainer = make_trainer(recipe, make=tiny_simcc, spec=simcc_spec(INPUT))
    trainer.run(max_steps=6)
    before = [copy.deepcopy(module) for module in (trainer.module, trainer.ema.module)]
    trainer._enter_stage(1)
    for old, new in zip(before, (trainer.module, trainer.ema.module), strict=True):
        expected = new.resampled(old.state_dict())
        assert expected["head.x.weight"].shape == (96, 16 * 12)
        for name, tensor in new.state_dict().items():
            torch.testing.assert_close(tensor, expected[name])
    moments = trainer.optimiser.state
    assert trainer.module.head.x.weight not in moments
    assert trainer.module.trunk[0].weight in moments
    assert trainer.module.head.keypoint_maps.weight in moments


class Explosive(TinyNet):
    """Whose gradients are infinite in some steps, though its outputs are not."""

    explode: ClassVar[set[int]] = set()
    steps: ClassVar[int] = 0

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = super().forward(images)
        if self.training:
            if Explosive.steps in Explosive.explode:
                outputs["heatmaps"].register_hook(lambda gradient: gradient * float("inf"))
            Explosive.steps += 1
        return outputs


@pytest.fixture
def explode(monkeypatch):
    monkeypatch.setattr(Explosive, "steps", 0)
    return lambda steps: monkeypatch.setattr(Explosive, "explode", set(steps))


def test_a_step_without_a_finite_gradient_is_left_out(make_trainer, tmp_path, explode):
    explode([2])
    trainer = make_trainer(RECIPE, make=Explosive)
    trainer.run(max_steps=2)
    before = state(trainer)
    trainer.run(max_steps=1)
    still = [key for key in before if "running" not in key and "tracked" not in key]
    after = state(trainer)
    assert all(torch.equal(before[k], after[k]) for k in still if not k.startswith("ema."))
    trainer.run()
    assert not torch.equal(trainer.module.head.weight, before["model.head.weight"])
    assert all(tensor.isfinite().all() for tensor in state(trainer).values())
    told = [e.get("steps_left_out") for e in read_log(tmp_path / "run" / "log.jsonl")]
    assert [count for count in told if count] == [1]


def test_a_model_without_finite_gradients_has_diverged(make_trainer, explode):
    explode(range(100))
    with pytest.raises(EdgeposeError, match="diverged: most gradients are no longer finite"):
        make_trainer(RECIPE, make=Explosive).run()


def test_a_diverged_model_never_replaces_the_checkpoint(make_trainer, tmp_path):
    make_trainer(RECIPE).run(max_steps=2)
    trainer = make_trainer(RECIPE, checkpoint_minutes=0)
    trainer.resume()
    with torch.no_grad():
        trainer.module.head.bias.fill_(float("inf"))
    with pytest.raises(EdgeposeError, match="diverged"):
        trainer.run(max_steps=2)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").step == 2


def test_a_grown_budget_does_not_shrink_the_input_again(make_trainer):
    recipe = replace(RECIPE, stages=(Stage(0.0, (32, 24)), Stage(0.5, INPUT)))
    make_trainer(recipe).run(max_steps=8)
    longer = make_trainer(replace(recipe, epochs=40))
    longer.resume()
    longer.run(max_steps=1)
    assert longer.spec.input_size == INPUT
