"""What state the machine was in: clocks, heat, limits and load, before and after a measurement."""

from edgepose.bench.conditions.compare import compare_conditions
from edgepose.bench.conditions.process import conditions_section
from edgepose.bench.conditions.snapshot import snapshot

__all__ = ["compare_conditions", "conditions_section", "snapshot"]
