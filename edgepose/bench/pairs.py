"""Claims of the form "this takes at most x times as long as that", judged from paired times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.bench.statistics import paired_ratio, summary
from edgepose.bench.timing import Samples

__all__ = ["Pair", "judge"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two cells that are compared.

    Attributes:
        name: What is asked, in words.
        contender: Name of the cell above the line.
        baseline: Name of the cell below it.
        limit: Largest ratio that is acceptable, or None where there is only curiosity.
    """

    name: str
    contender: str
    baseline: str
    limit: float | None = None


def judge(pairs: Sequence[Pair], samples: Mapping[str, Samples]) -> list[dict[str, Any]]:
    """The ratio of each pair with its 95 % interval, the verdict, and all samples, JSON-ready.

    Fewer than 6 rounds give no interval; it is None then.
    A limit is met when the ratio itself is within it; the interval says how far to trust that.
    """
    return [_row(pair, samples[pair.contender], samples[pair.baseline]) for pair in pairs]


def _row(pair: Pair, contender: Samples, baseline: Samples) -> dict[str, Any]:
    ratio = paired_ratio(contender, baseline)
    return {
        "pair": pair.name,
        "contender": pair.contender,
        "baseline": pair.baseline,
        "ratio": round(ratio.value, 4),
        "interval_95": ratio.interval and [round(end, 4) for end in ratio.interval],
        "limit": pair.limit,
        "met": None if pair.limit is None else ratio.value <= pair.limit,
        "contender_ms": summary(contender),
        "baseline_ms": summary(baseline),
        "contender_samples_ms": _rounded(contender),
        "baseline_samples_ms": _rounded(baseline),
    }


def _rounded(samples: Samples) -> list[list[float]]:
    return [[round(float(v), 4) for v in visit] for visit in samples]
