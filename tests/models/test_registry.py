from __future__ import annotations

import dataclasses

import pytest
import torch

from edgepose.errors import InputError
from edgepose.models import REGISTRY, build, parse_name, spec_for
from tests.models.helpers import count_macs, count_params, enliven, largest

ONE_OF_EACH_KIND = [
    "mitpose-lite",
    "mitpose-lite-ref",
    "mgil-w32-32",
    "mgil-r50-32",
    "hrnet-w32",
    "simcc-w32-32",
]


@pytest.mark.parametrize("name", REGISTRY)
def test_costs_are_those_of_the_registry(name: str) -> None:
    entry = REGISTRY[name]
    with torch.device("meta"):
        model = build(name)
    assert count_params(model) == entry.params
    assert count_macs(model, 1, 3, *entry.input_size) == pytest.approx(entry.gmacs * 1e9, rel=1e-3)


def test_the_lite_forms_differ_by_four_grns() -> None:
    """2 blocks x gain and shift x 2C channels, at 64 and at 128."""
    difference = REGISTRY["mitpose-lite-ref"].params - REGISTRY["mitpose-lite"].params
    assert difference == 2 * 2 * (2 * 64) + 2 * 2 * (2 * 128)


@pytest.mark.parametrize("name", REGISTRY)
def test_outputs_have_the_names_and_shapes_of_their_kind(name: str) -> None:
    entry = REGISTRY[name]
    height, width = entry.input_size
    with torch.device("meta"):
        outputs = build(name).eval()(torch.empty(2, 3, height, width))
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    if entry.output == "heatmap":
        assert shapes == {"heatmaps": (2, 17, height // 4, width // 4)}
    else:
        assert shapes == {"simcc_x": (2, 17, 2 * width), "simcc_y": (2, 17, 2 * height)}


@pytest.mark.parametrize("name", REGISTRY)
def test_spec_says_how_the_model_is_fed_and_read(name: str) -> None:
    entry = REGISTRY[name]
    spec = spec_for(name)
    assert (spec.model, spec.input_size, spec.output) == (name, entry.input_size, entry.output)
    assert spec.decoder.alignment == "half_pixel"
    assert spec.decoder.name == ("dark" if entry.output == "heatmap" else "simcc")
    assert (spec.layout, spec.dtype, spec.colour) == ("nchw", "float32", "rgb")
    assert spec.provenance.weights_sha256 == ""


def test_the_number_of_keypoints_is_free() -> None:
    with torch.device("meta"):
        images = torch.empty(1, 3, 32, 32)
        assert build("mitpose-lite@32x32", num_keypoints=5)(images)["heatmaps"].shape[1] == 5
        outputs = build("simcc-w32-32", num_keypoints=3).eval()(images)
    assert outputs["simcc_x"].shape == (1, 3, 64)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_an_item_does_not_depend_on_its_batch(name: str) -> None:
    model = enliven(build(name, (32, 32))).eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = model(images), model(images[1:2])
    for key, value in together.items():
        assert value.std() > 1e-3  # a dead net would agree with itself
        assert largest(value[1:2] - alone[key]) < 1e-4 * largest(value)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_gradients_reach_every_parameter_and_are_finite(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, (32, 32))
    assert model.training
    outputs = model(torch.randn(4, 3, 32, 32))
    sum((value - 1).square().mean() for value in outputs.values()).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_blank_images_give_finite_gradients(name: str) -> None:
    """Channels that are zero everywhere are where a square root's gradient would be infinite."""
    model = build(name, (32, 32))
    outputs = model(torch.zeros(2, 3, 32, 32))
    sum(value.square().mean() for value in outputs.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_a_fresh_model_keeps_its_signal_in_range(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, (32, 32))
    stds = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda _m, _i, output: stds.append(float(output.detach().std()))
            )
    model(torch.randn(8, 3, 32, 32))
    *inner, _ = stds  # heatmap heads start near zero on purpose
    assert min(inner) > 1e-3
    assert max(inner) < 30


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mitpose-lite", ("mitpose-lite", (256, 192))),
        ("mitpose-lite@128x96", ("mitpose-lite", (128, 96))),
        ("mgil-w32-64@96x64", ("mgil-w32-64", (96, 64))),
        ("simcc-w32-256x192", ("simcc-w32-256x192", (256, 192))),
        ("simcc-w32-256x192@128x96", ("simcc-w32-256x192", (128, 96))),
    ],
)
def test_parse_name(name: str, expected: tuple[str, tuple[int, int]]) -> None:
    assert parse_name(name) == expected


def test_another_size_changes_model_and_spec_alike() -> None:
    spec = spec_for("mitpose-lite@64x48")
    assert spec == spec_for("mitpose-lite", (64, 48))
    native = spec_for("mitpose-lite")
    assert spec == dataclasses.replace(native, input_size=(64, 48), decoder=spec.decoder)
    assert spec.decoder.name == native.decoder.name
    outputs = build("mitpose-lite@64x48").eval()(torch.zeros(1, 3, *spec.input_size))
    assert outputs["heatmaps"].shape == (1, 17, 16, 12)


def test_an_unknown_name_suggests_close_ones() -> None:
    with pytest.raises(InputError, match=r"no model 'mitpose-light'.*\n.*mitpose-lite"):
        build("mitpose-light")
    with pytest.raises(InputError, match="mgil-w32-64, mgil-w32-128"):
        build("qqqq")


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("mitpose-lite@100x70", None, r"100x70.*multiples of 16\n.*mitpose-lite@96x64"),
        ("mgil-w32-32@48x48", None, r"multiples of 32\n.*mgil-w32-32@64x64"),
        ("hrnet-w32@240x192", None, r"multiples of 32\n.*hrnet-w32@256x192"),
        ("simplebaseline-r50@255x191", None, r"multiples of 32\n.*simplebaseline-r50@256x192"),
        ("mitpose-lite@0x16", None, "multiples of 16"),
        ("mitpose-lite", (250, 192), "multiples of 16"),
        ("mitpose-lite@256", None, "not HEIGHTxWIDTH"),
        ("mitpose-lite@", None, "not HEIGHTxWIDTH"),
        ("mitpose-lite@64x48", (128, 96), "two input sizes"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(
    name: str, size: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        build(name, size)
    with pytest.raises(InputError, match=words):
        spec_for(name, size)


def test_no_keypoints_is_refused() -> None:
    with pytest.raises(InputError, match="0 keypoints"):
        build("mitpose-lite", num_keypoints=0)


@pytest.mark.parametrize(("size", "kernel"), [("256x192", 11), ("128x96", 7), ("64x48", 5)])
def test_the_blur_of_dark_follows_the_map(size: str, kernel: int) -> None:
    assert spec_for(f"mitpose-lite@{size}").decoder.blur_kernel == kernel


def test_what_the_paper_leaves_open_can_be_chosen() -> None:
    with torch.device("meta"):
        both = [build("mgil-w32-32", scope=scope, split_ratio=3.0) for scope in ("main", "all")]
        outputs = both[1].eval()(torch.empty(1, 3, 32, 32))
    assert count_params(both[1]) > 1.7 * count_params(both[0])
    assert outputs["simcc_x"].shape == (1, 17, 96)
    assert spec_for("mgil-w32-32", split_ratio=3.0).decoder.split_ratio == 3.0


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no option 'scop'.*width, scope, split_ratio"):
        build("mgil-w32-32", scop="all")
