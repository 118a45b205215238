"""All findings together, and what they add up to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from edgepose.doctor.checks import (
    cameras,
    cuda,
    extras,
    gpu,
    machine,
    memory,
    onnxruntime,
    opencv,
    power,
    tensorrt,
    zoo,
)
from edgepose.doctor.finding import PURPOSES, Finding, Purpose
from edgepose.doctor.system import System
from edgepose.redact import redact

__all__ = ["Report", "examine"]

_QUESTIONS = (
    "onnxruntime", "tensorrt_rtx", "opencv", "gpu", "tensorrt", "pycuda", "cuda_bindings",
)  # fmt: skip
_CHECKS = (machine, memory, gpu, cuda, tensorrt, onnxruntime, opencv, cameras, power, extras, zoo)


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Attributes:
        findings: In the order in which they are read.
        asked: What this machine should be able to do.
    """

    findings: tuple[Finding, ...]
    asked: Purpose = "cpu"

    def __bool__(self) -> bool:
        """Whether it can do what was asked for."""
        return not self.reasons(self.asked)

    def reasons(self, purpose: Purpose) -> tuple[Finding, ...]:
        """What makes a purpose impossible."""
        return tuple(finding for finding in self.findings if purpose in finding.blocks)

    def verdict(self) -> str:
        """One sentence: what can be done here, what cannot, and the first reason of each."""
        can = [words for purpose, words in PURPOSES.items() if not self.reasons(purpose)]
        cannot = [
            f"{words} ({reasons[0].group}: {reasons[0].seen})"
            for purpose, words in PURPOSES.items()
            if (reasons := self.reasons(purpose))
        ]
        text = f"You can: {'; '.join(can) or 'nothing yet'}."
        return f"{text} Not: {'; '.join(cannot)}." if cannot else text

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "asked": self.asked,
            "ok": bool(self),
            "can": {purpose: not self.reasons(purpose) for purpose in PURPOSES},
            "findings": [
                {**asdict(finding), "blocks": list(finding.blocks)} for finding in self.findings
            ],
            "verdict": self.verdict(),
        }


def examine(system: System | None = None, asked: Purpose = "cpu") -> Report:
    """Look at everything. Changes nothing, and never raises for what it finds.

    Args:
        system: The machine; this one if None.
        asked: What it should be able to do; what makes that impossible is a failure.
    """
    system = system or System()
    told = system.ask_all(_QUESTIONS)
    findings = [finding for part in _CHECKS for finding in part.check(system, told)]
    return Report(tuple(_final(finding, asked) for finding in findings), asked)


def _final(finding: Finding, asked: Purpose) -> Finding:
    """A failure if it blocks what was asked for; without secrets, whoever's words it holds."""
    return replace(
        finding,
        level="fail" if asked in finding.blocks else finding.level,
        seen=redact(finding.seen),
        means=redact(finding.means),
        do=redact(finding.do),
    )
