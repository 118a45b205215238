"""The tables with all figures: times, memory, accuracy, cost and power."""

from edgepose.bench.report.details.accuracy import (
    accuracy_tables,
    joint_tables,
    parity_table,
    shifts,
    worst,
)
from edgepose.bench.report.details.resources import (
    cost_table,
    layer_tables,
    memory_table,
    power_table,
)
from edgepose.bench.report.details.times import latency_table, loading_table

__all__ = [
    "accuracy_tables",
    "cost_table",
    "joint_tables",
    "latency_table",
    "layer_tables",
    "loading_table",
    "memory_table",
    "parity_table",
    "power_table",
    "shifts",
    "worst",
]
