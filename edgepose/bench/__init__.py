"""Measuring artefacts: accuracy, latency, and records that say how they were measured.

Names are loaded when they are used: the processes in which artefacts are weighed import this
package too, and should hold no more than they need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepose.bench.hardware import fingerprint, load_average, slug
    from edgepose.bench.latency import LatencyRun, measure_latency
    from edgepose.bench.pairs import Pair, judge
    from edgepose.bench.records import BenchRecord, describe_artefact, read_record
    from edgepose.bench.scenes import Scene, folder_scene, sample_scene
    from edgepose.bench.stages import network_cell, poses_cell
    from edgepose.bench.statistics import Ratio, paired_ratio, summary
    from edgepose.bench.timing import Cell, Schedule, measure

_WHERE = {
    "BenchRecord": "records",
    "Cell": "timing",
    "LatencyRun": "latency",
    "Pair": "pairs",
    "Ratio": "statistics",
    "Scene": "scenes",
    "Schedule": "timing",
    "describe_artefact": "records",
    "fingerprint": "hardware",
    "folder_scene": "scenes",
    "judge": "pairs",
    "load_average": "hardware",
    "measure": "timing",
    "measure_latency": "latency",
    "network_cell": "stages",
    "paired_ratio": "statistics",
    "poses_cell": "stages",
    "read_record": "records",
    "sample_scene": "scenes",
    "slug": "hardware",
    "summary": "statistics",
}

__all__ = [
    "BenchRecord",
    "Cell",
    "LatencyRun",
    "Pair",
    "Ratio",
    "Scene",
    "Schedule",
    "describe_artefact",
    "fingerprint",
    "folder_scene",
    "judge",
    "load_average",
    "measure",
    "measure_latency",
    "network_cell",
    "paired_ratio",
    "poses_cell",
    "read_record",
    "sample_scene",
    "slug",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"edgepose.bench.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'edgepose.bench' has no attribute '{name}'")
