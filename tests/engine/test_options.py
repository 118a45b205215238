from __future__ import annotations

from typing import Any

import pytest

from edgepose.engine import BuildOptions, Profile
from edgepose.errors import InputError
from edgepose.recipes import recipes


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"profiles": (Profile(0, 1, 2),)}, "0,1,2 begin below 1"),
        ({"profiles": (Profile(-4, 1, 2),)}, "begin below 1"),
        ({"profiles": (Profile(1, 1, 1), Profile(8, 4, 2))}, "8,4,2 are out of order"),
        ({"profiles": (Profile(1, 8, 4),)}, "smallest 1, usual 8, largest 4"),
        ({"profiles": ()}, "no batch sizes"),
        ({"workspace_mib": 0}, "workspace_mib is 0: it goes from 1"),
        ({"optimization_level": 6}, "it goes from 0 to 5"),
        ({"dla_core": -1}, "dla_core is -1"),
        ({"hardware_compatibility": "all"}, "known are none, ampere_plus"),
        ({"compute_capabilities": ("8.6", "ampere")}, "'ampere' is no compute capability"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_built(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        BuildOptions(**values)


def test_only_what_differs_is_told() -> None:
    assert BuildOptions(profiles=(Profile(1, 2, 4),)).chosen() == {}
    chosen = BuildOptions(tf32=True, compute_capabilities=("8.6",), external_tactics=False).chosen()
    assert chosen == {"tf32": True, "compute_capabilities": ["8.6"], "external_tactics": False}


def test_every_recipe_can_be_built() -> None:
    for recipe in recipes():
        options = BuildOptions.from_settings(recipe.engine.chosen(), recipe.batch)
        assert options.profiles == (recipe.batch and (Profile(*recipe.batch),))
        assert options.chosen().keys() == recipe.engine.chosen().keys()
    with pytest.raises(InputError, match="no option 'precision'"):
        BuildOptions.from_settings({"precision": "fp16"})
    with pytest.raises(InputError, match="out of order"):
        BuildOptions.from_settings({}, (4, 2, 1))
