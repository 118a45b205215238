"""The training loop: one run from its first step, or its last checkpoint, to the end of its budget.

What a step does depends only on the recipe and the step's number (order, augmentation) and on the
state in the checkpoint (weights, moments, averages, torch's generator), so a resumed run takes the
same steps that the uninterrupted one would have taken. With a time budget the learning rate also
follows the clock, and only the time already spent is kept.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgepose.errors import EdgeposeError, InputError
from edgepose.models import REGISTRY, load_weights, save_weights, translator
from edgepose.runtime.torch import TorchRunner
from edgepose.spec import PoseSpec
from edgepose.train.annotations import Record
from edgepose.train.augment import Augmenter, step_generator
from edgepose.train.batches import BatchSource
from edgepose.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgepose.train.distributed import Processes
from edgepose.train.ema import Ema
from edgepose.train.lineage import lineage
from edgepose.train.log import TrainingLog
from edgepose.train.optimiser import make_optimiser, transfer_state
from edgepose.train.precision import autocast, use_bf16
from edgepose.train.recipe import Recipe
from edgepose.train.schedule import check_stages, progress, rate_factor, stage_index
from edgepose.train.store import StoreShape
from edgepose.train.targets import pose_loss
from edgepose.train.validate import Validation, Validator

__all__ = ["Listener", "Outcome", "Trainer"]

LOG_EVERY = 50

# Steps without a finite gradient that no window of the log is stopped for.
LEFT_OUT_BY_CHANCE = 5


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        finished: False when it was stopped before its budget was used.
        step: Steps done.
        minutes: Minutes of training.
        epochs: Passes over the data.
        loss: Mean training loss of the last logged steps.
        validation: The last validation, if there was one.
        before: What the weights that it began with reach on the same people; None where it began
            with none, or with nobody to validate on.
    """

    finished: bool
    step: int
    minutes: float
    epochs: float
    loss: float | None
    validation: Validation | None
    before: Validation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


class Listener:
    """What a run tells while it goes; does nothing by itself."""

    def started(self) -> None:
        """Before the first step, when the data is packed; from here on ``stopping`` is heeded."""

    def stepped(self, done: float, persons: int, seconds: float) -> None:
        """After each step: share of the budget used, persons and seconds of this step."""

    def logged(self, entry: dict[str, Any]) -> None:
        """After each log entry."""

    def stopping(self) -> bool:
        """Whether the user wants the run to stop."""
        return False


class Trainer:
    """One run.

    Args:
        make: Builds the model for an input size (height, width), in train mode.
        spec: The model's spec at its final input size.
        recipe: All settings.
        source: Batches of the training persons.
        shape: How they are packed.
        fold: Persons to validate on; may be empty.
        out: Folder for checkpoint, log, curve and weights.
        data: Digests of the sets; a resumed run must have the same.
        trained_on: Sentence for the weights' metadata.
        holdout_only: Whether the weights may only be measured on the edgepose hold-out.
        processes: This process and its peers.
        checkpoint_minutes: Time between checkpoints.
        listener: Who is told of progress.
    """

    def __init__(
        self,
        make: Callable[[tuple[int, int]], nn.Module],
        spec: PoseSpec,
        recipe: Recipe,
        source: BatchSource,
        shape: StoreShape,
        fold: Sequence[Record],
        out: Path,
        *,
        data: Sequence[str],
        trained_on: str,
        holdout_only: bool = False,
        processes: Processes,
        checkpoint_minutes: float = 5.0,
        listener: Listener | None = None,
    ) -> None:
        self._make, self._final_spec, self._recipe = make, spec, recipe
        self._source, self._shape, self._fold, self._out = source, shape, fold, out
        self._data, self._trained_on = list(data), trained_on
        self._holdout_only = holdout_only
        self._processes, self._listener = processes, listener or Listener()
        self._checkpoint_s = checkpoint_minutes * 60
        self._bf16 = use_bf16(recipe.bf16, processes.device)
        check_stages(recipe.stages, spec.input_size)
        self.step = 0
        self._init: Path | None = None
        self._resumed = False
        self.elapsed_s = 0.0
        self._clock = time.monotonic()
        torch.manual_seed(recipe.seed)
        self._stage = 0
        self._install(make(self._stage_size(0)), self._stage_size(0))

    def resume(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            InputError: There is none, or it belongs to another model, recipe or data.
            WeightsError: It cannot be read.
        """
        saved = load_checkpoint(self._out / "checkpoint.pt")
        theirs, ours = _fixed(saved.recipe), _fixed(self._recipe.to_dict())
        changed = [f"recipe.{k}" for k in ours if theirs.get(k) != ours[k]]
        changed += ["model"] * (saved.model != self._final_spec.model)
        changed += ["data"] * (saved.data != self._data)
        if changed:
            raise InputError(
                f"cannot resume the run in {self._out}",
                f"it was started with other settings: {', '.join(changed)}",
                "give the same settings, or another --out",
            )
        self.step, self.elapsed_s = saved.step, saved.elapsed_s
        self._stage = self._stage_of(saved.input_size)
        self._install(self._make(saved.input_size), saved.input_size)
        self.module.load_state_dict(saved.weights)
        self.ema.module.load_state_dict(saved.averaged)
        self.ema.updates = saved.averaged_updates
        self.optimiser.load_state_dict(saved.optimiser)
        torch.set_rng_state(saved.random_state)
        self._resumed = True
        self._trained_on = saved.trained_on or self._trained_on
        self._holdout_only |= saved.holdout_only

    def start_from(self, weights: Path) -> None:
        """Begin with the weights of a file (what belongs to one input size is resampled).

        What they were trained on, and whether only the hold-out may measure them, passes on.
        """
        entry = REGISTRY.get(self.spec.model)
        authors = None if entry is None else entry.authors
        earlier = self._load(self.module, weights)
        if authors and earlier.get("origin") == "authors" and authors.colour != self.spec.colour:
            raise InputError(
                f"cannot begin with {weights}",
                f"its authors trained on {authors.colour} images, edgepose on {self.spec.colour}",
                "they can be exported as they are: edgepose export "
                f"{self.spec.model} --weights {weights}",
            )
        self._trained_on = lineage(self._trained_on, earlier.get("trained_on", ""))
        self._holdout_only |= earlier.get("holdout_only") == "true"
        self._init = weights
        self.ema = Ema(self.module, self._recipe.ema)

    def run(self, max_steps: int | None = None) -> Outcome:
        """Train until the budget is used, the listener wants to stop, or ``max_steps`` are done.

        Raises:
            EdgeposeError: The loss is no longer finite.
        """
        self._listener.started()
        first = self._processes.first
        goes_on = self.step if self._resumed or self.step else None
        log = TrainingLog(self._out / "log.jsonl", goes_on) if first else None
        last_check = time.monotonic()
        window = _Window(self._processes.device)
        validation: Validation | None = None
        self._clock = time.monotonic()
        if self._init is not None and self.step == 0:
            self._look_before(self._init, log)
        limit = None if max_steps is None else self.step + max_steps
        finished = False
        while True:
            done = self._progress()
            finished = done >= 1
            if finished or self._processes.any(self._listener.stopping()):
                break
            if limit is not None and self.step >= limit:
                break
            self._enter_stage(stage_index(self._recipe.stages, done))
            window.add(*self._train_step(done), self._recipe.batch)
            spent = self._tick()
            window.seconds += spent
            self._listener.stepped(self._progress_here(), self._recipe.batch, spent)
            if self.step % LOG_EVERY == 0:
                self._log_window(window, log, done)
            if self._validation_due(done):
                validation = self._validate(log)
            due = time.monotonic() - last_check >= self._checkpoint_s
            if first and due:
                window.mean()  # raises rather than let NaN replace the last good checkpoint
                self._save()
                last_check = time.monotonic()
            self._tick()
        if window.steps:
            self._log_window(window, log, self._progress())
        if finished and (validation is None or self._stale):
            validation = self._validate(log)
        if first:
            self._save()
            self._publish(log)
        return Outcome(
            finished=finished,
            step=self.step,
            minutes=self.elapsed_s / 60,
            epochs=self.step / self._source.steps_per_epoch,
            loss=window.last,
            validation=validation,
            before=None if log is None else _before(log.entries),
        )

    # Steps -----------------------------------------------------------------------------------

    def _train_step(self, done: float) -> tuple[Tensor, Tensor]:
        """The loss, and 1 where the weights stayed as they were, else 0."""
        rate = self._rate(done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        device = self._processes.device
        pixels, joints = self._source.load(self.step)
        generator = step_generator(self._recipe.seed, self.step, self._processes.rank)
        crops, places, weights = self._augment(
            pixels.to(device, non_blocking=True), joints, generator
        )
        with autocast(device, self._bf16):
            outputs = self._forward(crops)
        loss = pose_loss(
            outputs, places.to(device), weights.to(device), self.spec, self._recipe.loss
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self._recipe.clip_norm)
        # One step without a finite gradient would end the whole training. Fused AdamW leaves it out
        # by this flag (GradScaler sets it, too), and nobody waits for the device to know.
        left_out = (~norm.isfinite()).float()
        self.optimiser.found_inf = left_out  # type: ignore[attr-defined]
        self.optimiser.step()
        self.ema.update(self.module)
        self.step += 1
        return loss.detach(), left_out

    def _tick(self) -> float:
        """Count the time since the last tick as training time, and give it."""
        now = time.monotonic()
        spent, self._clock = now - self._clock, now
        self.elapsed_s += spent
        return spent

    def _progress_here(self) -> float:
        return progress(
            self._recipe,
            step=self.step,
            steps_per_epoch=self._source.steps_per_epoch,
            elapsed_s=self.elapsed_s,
        )

    def _progress(self) -> float:
        """The first process's clock rules, so that all take the same decisions."""
        return self._processes.agree(self._progress_here())[0]

    def _rate(self, done: float) -> float:
        return round(self._recipe.learning_rate * rate_factor(self._recipe, done), 9)

    # Stages ----------------------------------------------------------------------------------

    def _stage_size(self, index: int) -> tuple[int, int]:
        stages = self._recipe.stages
        return stages[index].input_size if stages else self._final_spec.input_size

    def _stage_of(self, input_size: tuple[int, int]) -> int:
        sizes = [stage.input_size for stage in self._recipe.stages]
        return sizes.index(input_size) if sizes else 0

    def _enter_stage(self, index: int) -> None:
        # Never back: a budget that grew on resuming would otherwise shrink the input again.
        if index <= self._stage:
            return
        old, averaged, optimiser = self.module, self.ema, self.optimiser
        size = self._stage_size(index)
        self._stage = index
        module = self._make(size)
        self._carry(old, module)
        self._install(module, size)
        self._carry(averaged.module, self.ema.module)
        self.ema.updates = averaged.updates
        transfer_state(optimiser, old, self.optimiser, self.module)

    def _carry(self, old: nn.Module, new: nn.Module) -> None:
        """All weights of ``old`` into ``new``, resampling what belongs to one input size."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stage.safetensors"
            save_weights(old, file, model=self.spec.model, input_size=self.spec.input_size)
            load_weights(new, file)

    def _install(self, module: nn.Module, input_size: tuple[int, int]) -> None:
        """Make a module the one that is trained, with a fresh optimiser, average and crops."""
        recipe, processes = self._recipe, self._processes
        # torch's type stubs know this keyword of Module.to only together with a device.
        self.module = module.to(device=processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module.train()
        self.spec = replace(self._final_spec, input_size=input_size)
        self.ema = Ema(self.module, recipe.ema)
        self.optimiser = make_optimiser(self.module, recipe)
        self._augment = Augmenter(recipe.augmentation, self.spec, self._shape)
        self._validator: Validator | None = None
        self._stale = True
        forward: Callable[[Tensor], dict[str, Tensor]] = self.module
        if processes.world > 1:
            ids = [processes.device] if processes.device.type == "cuda" else None
            forward = DistributedDataParallel(self.module, device_ids=ids)
        self._forward = torch.compile(forward) if recipe.compile else forward

    # Looking and keeping ---------------------------------------------------------------------

    def _validation_due(self, before: float) -> bool:
        """Whether the step just taken crossed the next mark; every process gives one answer."""
        self._stale = True
        count = self._recipe.validations
        now = self._progress()
        return int(now * count) > int(before * count)

    def _validate(self, log: TrainingLog | None) -> Validation | None:
        self._stale = False
        if not self._processes.first or not self._fold:
            return None
        if self._validator is None:
            self._validator = Validator(self._fold, self.spec)
        runner = TorchRunner(self.ema.module, self.spec, str(self._processes.device))
        found = self._validator.run(runner, self._recipe.loss)
        self._tick()
        self._write(log, self._entry(self.spec.input_size, **_rounded(found)))
        self._publish(log)
        return found

    def _look_before(self, weights: Path, log: TrainingLog | None) -> None:
        """Validate what the run begins with, at its final input size; no time of its budget."""
        if log is None or not self._fold:
            return
        spec, device = self._final_spec, self._processes.device
        module = self._make(spec.input_size).to(device)
        self._load(module, weights)
        validator = Validator(self._fold, spec)
        if spec == self.spec:
            self._validator = validator
        runner = TorchRunner(module.eval(), spec, str(device))
        found = validator.run(runner, self._recipe.loss)
        self._write(log, self._entry(spec.input_size, **_rounded(found)))
        self._clock = time.monotonic()

    def _load(self, module: nn.Module, weights: Path) -> dict[str, str]:
        """The weights of a file, ours or the authors' of the architecture, into a module."""
        entry = REGISTRY.get(self._final_spec.model)
        known = entry is not None and entry.authors is not None
        return load_weights(module, weights, translator(self._final_spec.model) if known else None)

    def _log_window(self, window: _Window, log: TrainingLog | None, done: float) -> None:
        loss = window.mean()  # waits for the device
        window.seconds += self._tick()
        speed = round(window.persons / max(window.seconds, 1e-9), 2)
        odd = {"steps_left_out": window.left_out()} if window.left_out() else {}
        window.reset()
        rate = self._rate(done)
        size = self.spec.input_size
        self._write(log, self._entry(size, loss=loss, persons_per_s=speed, rate=rate, **odd))

    def _entry(self, input_size: tuple[int, int], **values: Any) -> dict[str, Any]:
        height, width = input_size
        return {
            "step": self.step,
            "epoch": round(self.step / self._source.steps_per_epoch, 4),
            "minutes": round(self.elapsed_s / 60, 4),
            "input": f"{height}x{width}",
            **values,
        }

    def _write(self, log: TrainingLog | None, entry: dict[str, Any]) -> None:
        if log is not None:
            log.write(entry)
            self._listener.logged(entry)

    def _save(self) -> None:
        save_checkpoint(
            Checkpoint(
                model=self._final_spec.model,
                input_size=self.spec.input_size,
                recipe=self._recipe.to_dict(),
                data=self._data,
                step=self.step,
                elapsed_s=self.elapsed_s,
                weights=self.module.state_dict(),
                averaged=self.ema.module.state_dict(),
                averaged_updates=self.ema.updates,
                optimiser=self.optimiser.state_dict(),
                random_state=torch.get_rng_state(),
                trained_on=self._trained_on,
                holdout_only=self._holdout_only,
            ),
            self._out / "checkpoint.pt",
        )

    def _publish(self, log: TrainingLog | None) -> None:
        """The averaged weights as they are now, and the curve so far."""
        from edgepose.train.plot import plot_curve

        model = self._final_spec.model
        save_weights(
            self.ema.module,
            self._out / f"{model}.safetensors",
            model=model,
            input_size=self.spec.input_size,
            trained_on=self._trained_on,
            holdout_only=self._holdout_only,
            half=True,
        )
        if log is not None:
            plot_curve(log.entries, self._out / "curve.png", model)


def _rounded(found: Validation) -> dict[str, float]:
    """As the log holds it."""
    figures = {name: round(value, 5) for name, value in asdict(found).items()}
    return {"val_loss": figures.pop("loss"), **figures}


def _before(entries: Sequence[dict[str, Any]]) -> Validation | None:
    """The validation that was made before the first step, perhaps by a run since resumed."""
    for entry in entries:
        if entry["step"] == 0 and "val_loss" in entry:
            return Validation(entry["val_loss"], entry["ap"], entry["ap50"], entry["oks"])
    return None


class _Window:
    """Loss and speed since the last log entry; the loss stays on the device until it is read."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.last: float | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew; ``last`` stays."""
        self.total = torch.zeros((), device=self._device)
        self._left_out = torch.zeros((), device=self._device)
        self.steps = 0
        self.persons = 0
        self.seconds = 0.0

    def add(self, loss: Tensor, left_out: Tensor, persons: int) -> None:
        """Count a step, which left the weights as they were or not."""
        self.total += loss
        self._left_out += left_out
        self.steps += 1
        self.persons += persons

    def left_out(self) -> int:
        """Steps without a finite gradient."""
        return round(float(self._left_out))

    def mean(self) -> float:
        """Mean loss so far.

        Raises:
            EdgeposeError: It is no longer finite, or most steps had no finite gradient.
        """
        loss = float(self.total) / max(self.steps, 1)
        stuck = self.left_out() > max(LEFT_OUT_BY_CHANCE, self.steps / 2)
        if stuck or not math.isfinite(loss):
            raise EdgeposeError(
                "the training diverged",
                "most gradients are no longer finite" if stuck else "the loss is no longer finite",
                "take a lower learning_rate; --init starts a new --out from the last weights",
            )
        self.last = round(loss, 5)
        return self.last


def _fixed(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings that a resumed run must share; a budget may grow as it goes."""
    free = {"validations", "compile", "epochs", "minutes"}
    return {key: _plain(value) for key, value in recipe.items() if key not in free}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
