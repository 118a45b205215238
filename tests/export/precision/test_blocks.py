from __future__ import annotations

from edgepose.export.precision.blocks import blocks_of
from edgepose.export.precision.plan import Site
from tests.export.precision.graphs import conv


def sites(paths: list[str], weights: list[str] | None = None) -> list[Site]:
    weights = weights or [f"{path}.weight" for path in paths]
    return [
        Site(
            node=conv("a", "b", weight, name=f"{path}(Conv2d)/Conv_{n}" if path else f"n{n}"),
            data="a",
            channels=1,
            weight=weight,
            axis=0,
            groups=1,
            result="b",
        )
        for n, (path, weight) in enumerate(zip(paths, weights, strict=True))
    ]


NET = [
    "stem.0",
    *(f"stages.{s}.{b}.{part}" for s in range(3) for b in range(2) for part in "abc"),
    *(f"blocks.{b}.{part}" for b in range(6) for part in ("q", "k", "v", "project")),
    "head.pre",
    "head",
]


def test_large_modules_are_divided() -> None:
    found = blocks_of(sites(NET))
    assert 16 <= len(found) <= 30
    assert next(iter(found)) == "stem"
    assert [len(found[f"blocks.{n}"]) for n in range(1, 6)] == [4] * 5
    assert max(len(block) for block in found.values()) <= 6
    names = [name for block in found.values() for name in block]
    assert sorted(names) == sorted(s.name for s in sites(NET))


def test_a_small_net_falls_into_single_operations() -> None:
    found = blocks_of(sites(["a", "b.c", "b.d"]))
    assert list(found) == ["a", "b.c", "b.d"]


def test_a_module_that_calls_itself_and_its_parts() -> None:
    found = blocks_of(sites(["a", "a", "a.b"]))
    assert {name: len(block) for name, block in found.items()} == {"a": 2, "a.b": 1}


def test_a_very_wide_module_stays_whole() -> None:
    found = blocks_of(sites(["stem", *(f"list.{n}" for n in range(40))]))
    assert {name: len(block) for name, block in found.items()} == {"stem": 1, "list": 40}


def test_weights_tell_modules_where_nodes_do_not() -> None:
    found = blocks_of(sites(["", "", ""], ["m.a.weight", "m.a.w2", "m.b.weight"]))
    assert {name: len(block) for name, block in found.items()} == {"m.a": 2, "m.b": 1}


def test_without_any_modules_blocks_are_runs() -> None:
    found = blocks_of(sites([""] * 40, [f"w{n}" for n in range(40)]))
    assert len(found) == 16
    assert next(iter(found)) == "operations 1 to 2"
    assert sum(len(block) for block in found.values()) == 40
    assert blocks_of([]) == {}
