"""Timing contenders side by side: shuffled rounds in which each has its turn.

As :mod:`edgepose.bench.timing`, for contenders that live in processes of their own and use their
own clock; only one of them works at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgepose.bench import paired_ratio, summary
from edgepose.errors import EdgeposeError

__all__ = ["Asked", "Plan", "Timed", "figures", "take_rounds"]


class Asked(Protocol):
    """A contender that can be asked, see :meth:`benchmarks.gpu.workers.Worker.ask`."""

    def ask(self, timeout: float, do: str, **values: Any) -> dict[str, Any]:
        """Ask and wait."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often each contender is called.

    Attributes:
        rounds: Rounds; each visits every contender once.
        visit_ms: About what a visit's timed calls take together.
        least: Fewest calls of a visit.
        most: Most of them.
        untimed: Calls before them, which bring clocks and caches back.
        seed: Of the order of visits.
    """

    rounds: int = 12
    visit_ms: float = 40.0
    least: int = 4
    most: int = 40
    untimed: int = 3
    seed: int = 0

    def calls(self, milliseconds: float) -> int:
        """Calls of a visit, for a contender that takes so long."""
        return int(min(self.most, max(self.least, self.visit_ms / max(milliseconds, 1e-3))))


@dataclass
class Timed:
    """What came of a contender at one batch size.

    Attributes:
        host: A list of milliseconds per round, host to host.
        device: The same on the device's clock; None where nobody can ask it.
        words: Why it went no further; empty if it did.
    """

    host: list[list[float]] = field(default_factory=list)
    device: list[list[float]] | None = field(default_factory=list)
    words: str = ""


def take_rounds(
    contenders: Mapping[str, Asked],
    batch: int,
    calls: Mapping[str, int],
    plan: Plan,
    end: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timed]:
    """Time all contenders at one batch size.

    Args:
        contenders: Opened and warm.
        batch: The batch size.
        calls: Calls of a visit, by contender.
        plan: How often.
        end: No round begins after it.
        clock: Of ``end``.

    Returns:
        By contender; one that failed has its words, and the rounds before.
    """
    timed = {name: Timed() for name in contenders}
    order = list(contenders)
    shuffle = random.Random(plan.seed).shuffle  # noqa: S311 - an order of visits, no secret
    for turn in range(plan.rounds):
        # Two rounds are the least that a ratio can be made of.
        if turn >= 2 and clock() > end:
            break
        shuffle(order)
        for name in list(order):
            into = timed[name]
            try:
                found = contenders[name].ask(
                    max(10.0, end - clock()),
                    "time",
                    batch=batch,
                    untimed=plan.untimed,
                    calls=calls[name],
                )
            except EdgeposeError as error:
                into.words = ": ".join(filter(None, [error.what, error.why]))
                order.remove(name)
                continue
            into.host.append(found["host"])
            if found["device"] is None:
                into.device = None
            elif into.device is not None:
                into.device.append(found["device"])
    return timed


def figures(batch: int, timed: Mapping[str, Timed], baseline: str | None) -> list[dict[str, Any]]:
    """A row a contender: percentiles, people a second, ratio to the baseline, raw samples.

    Args:
        batch: The batch size.
        timed: As :func:`take_rounds` gives it.
        baseline: The contender that ratios are to, where it is there.
    """
    rows = []
    below = timed.get(baseline or "")
    for name, one in timed.items():
        row: dict[str, Any] = {"contender": name, "batch": batch, "words": one.words}
        if one.host:
            host = summary([v for visit in one.host for v in visit])
            row |= {
                "host_to_host_ms": host,
                "persons_per_second": round(batch / host["p50"] * 1000, 1),
                "device_ms": (
                    summary([v for visit in one.device for v in visit]) if one.device else None
                ),
                "samples_ms": {"host": _rounded(one.host), "device": _rounded(one.device or [])},
            }
        rounds = 0 if below is None else min(len(one.host), len(below.host))
        if below is not None and one is not below and rounds >= 2:
            ratio = paired_ratio(one.host[:rounds], below.host[:rounds])
            ends = {key: value and round(value, 4) for key, value in vars(ratio).items()}
            row["ratio"] = {"to": baseline, **ends}
        rows.append(row)
    return rows


def _rounded(visits: list[list[float]]) -> list[list[float]]:
    return [[round(value, 4) for value in visit] for visit in visits]
