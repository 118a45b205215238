"""Power and energy: what meters this machine has, and what a frame costs by them."""

from edgepose.bench.power.find import Found, Tried, find_meters
from edgepose.bench.power.measure import (
    PowerInterrupted,
    PowerRun,
    Sustained,
    Sustainer,
    measure_power,
)
from edgepose.bench.power.meter import Meter

__all__ = [
    "Found",
    "Meter",
    "PowerInterrupted",
    "PowerRun",
    "Sustained",
    "Sustainer",
    "Tried",
    "find_meters",
    "measure_power",
]
