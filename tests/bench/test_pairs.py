from __future__ import annotations

import json

import numpy as np

from edgepose.bench import BenchRecord, Pair, judge
from edgepose.bench.report import pairs_table

SAMPLES = {"old": np.full((5, 3), 10.0), "new": np.full((5, 3), 7.0)}


def test_ratios_and_verdicts() -> None:
    rows = judge(
        [
            Pair(name="is new quicker?", contender="new", baseline="old", limit=0.7),
            Pair(name="is old quicker?", contender="old", baseline="new", limit=1.0),
            Pair(name="how much slower is old?", contender="old", baseline="new"),
        ],
        SAMPLES,
    )
    assert [row["ratio"] for row in rows] == [0.7, 1.4286, 1.4286]
    assert [row["met"] for row in rows] == [True, False, None]
    assert rows[0]["baseline_samples_ms"] == [[10.0] * 3] * 5
    assert json.loads(json.dumps(rows)) == rows
    record = BenchRecord(
        kind="pairs", command="", artefact=None, runner=None, protocol={}, results=rows
    )
    assert pairs_table(record).row_count == 3
