"""What is known of a model without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepose.spec import Colour, DecoderSpec, OutputKind

__all__ = ["AuthorsCheckpoint", "ModelEntry", "Printed"]


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a paper prints of a model; None where it prints nothing.

    Attributes:
        params_m: Millions of parameters.
        gflops: "GFLOPs", by the paper's own rule of counting.
        gmacs: The same, converted to our rule (10^9 multiply-adds of convolutions, linear layers
            and matrix products), where the paper's rule is known.
        ap: COCO AP.
        ap_setting: What that AP was measured on, and with which boxes.
        note: Why our figures differ from the printed ones, or how they were converted.
    """

    params_m: float | None = None
    gflops: float | None = None
    gmacs: float | None = None
    ap: float | None = None
    ap_setting: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AuthorsCheckpoint:
    """How weights that the authors published are read.

    Attributes:
        translate: ``module:function`` that takes their tensors by their names to ours.
        decoder: How the outputs of those weights are read: they were trained on targets that lie
            elsewhere in the cells than ours.
        source: Where the authors publish them.
        colour: Channel order that they were trained on. The mean and the deviation stay ImageNet's,
            red's first: whoever trained on BGR subtracted red's from blue.
        options: ``module:function`` that tells from the shapes of their tensors, by their names,
            with which options of the builder the model was made; None where they all are alike.
    """

    translate: str
    decoder: DecoderSpec
    source: str
    colour: Colour = "rgb"
    options: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What is known of a model without building it.

    Attributes:
        builder: ``module:function`` that builds it: ``function(input_size, num_keypoints,
            **options)``. A name, so that the catalogue can be read where torch is absent.
        options: Further arguments of the builder.
        family: Group for listings.
        paper: Where the architecture comes from.
        input_size: Native (height, width).
        multiple: Other sizes must be multiples of this, one number or (height's, width's).
        output: Kind of output.
        decoder: How the outputs are read.
        params: Parameters at the native size with 17 keypoints, exactly; frozen ones count.
        gmacs: 10^9 multiply-adds of convolutions, linear layers and matrix products, per image at
            the native size.
        description: One line.
        printed: The paper's own figures.
        authors: The authors' published weights, where they can be read.
    """

    builder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    family: str
    paper: str
    input_size: tuple[int, int]
    multiple: int | tuple[int, int]
    output: OutputKind
    decoder: DecoderSpec
    params: int
    gmacs: float
    description: str
    printed: Printed = field(default_factory=Printed)
    authors: AuthorsCheckpoint | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """What height and width must be multiples of."""
        return self.multiple if isinstance(self.multiple, tuple) else (self.multiple, self.multiple)
