"""Training of registry models on COCO-format keypoint sets. Needs the ``train`` extra."""

from edgepose.train.loop import Listener, Outcome, Trainer
from edgepose.train.recipe import Augmentation, LossSettings, Recipe, Stage, load_recipe
from edgepose.train.run import init_of, train

__all__ = [
    "Augmentation",
    "Listener",
    "LossSettings",
    "Outcome",
    "Recipe",
    "Stage",
    "Trainer",
    "init_of",
    "load_recipe",
    "train",
]
