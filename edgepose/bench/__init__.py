"""Measuring artefacts: accuracy, latency, and records that say how they were measured."""

from edgepose.bench.accuracy import accuracy_record, measure_accuracy
from edgepose.bench.hardware import fingerprint, load_average, slug
from edgepose.bench.latency import latency_records, network_cell, poses_cell
from edgepose.bench.pairs import Pair, judge
from edgepose.bench.records import BenchRecord, describe_artefact, read_record
from edgepose.bench.scenes import Scene, folder_scene, sample_scene
from edgepose.bench.statistics import Ratio, paired_ratio, summary
from edgepose.bench.timing import Cell, Schedule, measure

__all__ = [
    "BenchRecord",
    "Cell",
    "Pair",
    "Ratio",
    "Scene",
    "Schedule",
    "accuracy_record",
    "describe_artefact",
    "fingerprint",
    "folder_scene",
    "judge",
    "latency_records",
    "load_average",
    "measure",
    "measure_accuracy",
    "network_cell",
    "paired_ratio",
    "poses_cell",
    "read_record",
    "sample_scene",
    "slug",
    "summary",
]
