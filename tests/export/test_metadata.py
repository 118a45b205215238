from __future__ import annotations

import pytest
import torch

import edgepose
from edgepose.errors import SpecError
from edgepose.export.metadata import embed_spec, read_spec
from edgepose.export.trace import trace
from edgepose.spec import METADATA_KEY
from tests.export.tiny import SIZE, TinyHeatmaps, heatmap_spec


def test_the_spec_comes_back_and_the_file_is_signed() -> None:
    model = trace(TinyHeatmaps(), torch.zeros(3, *SIZE))
    with pytest.raises(SpecError, match="no edgepose spec"):
        read_spec(model)
    spec = heatmap_spec("dark").with_provenance(trained_on="nothing", weights_sha256="ab")
    embed_spec(model, spec)
    assert read_spec(model) == spec
    assert (model.producer_name, model.producer_version) == ("edgepose", edgepose.__version__)
    embed_spec(model, heatmap_spec("quarter"))
    assert [p.key for p in model.metadata_props] == [METADATA_KEY]
    assert read_spec(model) == heatmap_spec("quarter")
