"""Does the target read it: every node of a graph against a runtime's table of operators."""

from edgepose.export.lint.ask import ask
from edgepose.export.lint.check import Finding, Lint, lint, load, refusal
from edgepose.export.lint.targets import TARGETS, Target, choose_opset, find_target
from edgepose.export.lint.verdict import Complaint, Verdict

__all__ = [
    "TARGETS",
    "Complaint",
    "Finding",
    "Lint",
    "Target",
    "Verdict",
    "ask",
    "choose_opset",
    "find_target",
    "lint",
    "load",
    "refusal",
]
