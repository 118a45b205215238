"""Going through a plan: what is over is skipped, what fails is written down, and time counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.journal import Journal, Status
from benchmarks.gpu.launch import Outcome
from benchmarks.gpu.plan import Step
from edgepose.redact import redact

__all__ = ["Launch", "conduct", "pending"]

Launch = Callable[[Step, float, Callable[[str], None]], Outcome]


def conduct(
    plan: Sequence[Step],
    journal: Journal,
    budget: Budget,
    launch: Launch,
    say: Callable[[str], None],
    *,
    retry: bool = False,
) -> list[dict[str, Any]]:
    """Do what is left of a plan, in its order; nothing that a step does ends the run.

    Args:
        plan: All steps.
        journal: Where rows stand and go.
        budget: The time.
        launch: Does one step.
        say: Told what happens.
        retry: Whether steps that failed in an earlier run are tried again.

    Returns:
        The row of every step of the plan, in its order.

    Raises:
        OutputError: A record cannot be written: then nothing more is measured.
    """
    rows = {step.key: row for step in plan if (row := journal.row(step)) is not None}
    for step in pending(plan, journal, retry=retry):
        rows[step.key] = _one(step, rows, journal, budget, launch, say)
    return [rows[step.key] for step in plan]


def pending(plan: Sequence[Step], journal: Journal, *, retry: bool = False) -> list[Step]:
    """Steps that are not over, and those whose engines such steps need and that are gone."""
    status = {step.key: (journal.row(step) or {}).get("status") for step in plan}
    over = {key for key, one in status.items() if one == "done" or (one == "failed" and not retry)}
    wanted = {need for step in plan if step.key not in over for need in step.needs}

    def gone(step: Step) -> bool:
        return step.makes is not None and status[step.key] == "done" and not step.makes.is_file()

    return [s for s in plan if s.key not in over or (s.key in wanted and gone(s))]


def _one(
    step: Step,
    rows: Mapping[str, dict[str, Any]],
    journal: Journal,
    budget: Budget,
    launch: Launch,
    say: Callable[[str], None],
) -> dict[str, Any]:
    if lacking := _lacking(step, rows):
        status: Status = (
            "unfinished" if any(r["status"] == "unfinished" for r in lacking) else "absent"
        )
        words = "; ".join(f"it needs {r['step']}, which is {_state(r)}" for r in lacking)
        say(f"{step.key}: {status}: {words}")
        return journal.put(step, status, words=words)
    expected = budget.expected(step.kind, step.guess)
    if not budget.allows(expected):
        words = f"{budget.left:.0f} s were left, and it takes about {expected:.0f}"
        say(f"{step.key}: no time: {words}")
        return journal.put(step, "unfinished", words=words)
    say(f"{step.key} (about {expected:.0f} s, {budget.left:.0f} s left)")
    began = time.monotonic()
    outcome = launch(step, max(1.0, budget.left), say)
    seconds = time.monotonic() - began
    if outcome.status == "done":
        budget.took(step.kind, step.guess, seconds)
    found = dict(outcome.found)
    passed = found.pop("passed", None)
    row = journal.put(
        step,
        outcome.status,
        passed=passed,
        words=redact(outcome.words),
        seconds=round(seconds, 1),
        log=outcome.log,
        found=found,
    )
    verdict = {True: ", passed", False: ", NOT passed", None: ""}[passed]
    say(f"{step.key}: {outcome.status}{verdict} after {seconds:.0f} s. {outcome.words}".strip())
    return row


def _lacking(step: Step, rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of what it needs and cannot have; nothing where it can begin."""
    lacking = [rows[need] for need in step.needs if rows[need]["status"] != "done"]
    return [] if step.any_of and len(lacking) < len(step.needs) else lacking


def _state(row: Mapping[str, Any]) -> str:
    words = f" ({row['words']})" if row["words"] else ""
    return f"{row['status']}{words}"
