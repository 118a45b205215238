"""The power monitors on a Jetson's board, in the kernel's files: rails by their labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepose.bench.power.meter import Unit
from edgepose.bench.power.rails import total_of
from edgepose.errors import DeviceError
from edgepose.system import System

__all__ = ["USUAL_SETTLE_S", "InaMeter"]

_CHIPS = ("ina3221", "ina238")
# Jetsons take the mean of 512 samples of three rails' voltage and current, 0.14 ms each.
USUAL_SETTLE_S = 0.9


@dataclass(frozen=True)
class _Rail:
    """Where a rail's figures are: power in microwatts, or voltage (mV) and current (mA)."""

    chip: str
    channel: int

    def watts(self, system: System) -> float | None:
        power = system.number(f"{self.chip}/power{self.channel}_input")
        if power is not None:
            return power / 1e6
        millivolts = system.number(f"{self.chip}/in{self.channel}_input")
        milliamperes = system.number(f"{self.chip}/curr{self.channel}_input")
        if millivolts is None or milliamperes is None:
            return None
        return millivolts * milliamperes / 1e6  # below 0 within its offset, when a part sleeps


class InaMeter:
    """INA3221 (and on Thor INA238) through hwmon, JetPack 5 and later.

    Files and units are of Linux's Documentation/hwmon/ina3221.rst and ina238.rst. Chips are found
    by name and rails by label, for the numbers of ``hwmon*`` change from start to start. Channels 4
    to 6 are voltages of shunts and 7 is their sum: no rails.

    Args:
        system: The machine.

    Raises:
        DeviceError: There is no such chip, its rails give no figures, or the rails of the whole are
            not known.
    """

    unit: Unit = "watts"

    def __init__(self, system: System) -> None:
        self._system = system
        chips = {
            chip: system.read(f"{chip}/name")
            for chip in system.matches("/sys/class/hwmon/hwmon*")
            if system.read(f"{chip}/name") in _CHIPS
        }
        if not chips:
            raise DeviceError(
                "no power monitor is here",
                f"no chip in /sys/class/hwmon is called {' or '.join(_CHIPS)}",
                "in a container: start it so that it sees the board's /sys",
            )
        found = {label: rail for chip in chips for label, rail in _rails(system, chip).items()}
        self._rails = {
            label: rail for label, rail in found.items() if rail.watts(system) is not None
        }
        if found and not self._rails:
            rail = next(iter(found.values()))
            trouble = system.trouble(f"{rail.chip}/in{rail.channel}_input")
            raise DeviceError("the power monitor gives no figures", trouble or None)
        total = total_of(self._rails)
        self.name = " and ".join(sorted({name.upper() for name in chips.values()}, reverse=True))
        self.scope = total.scope
        self.rails = tuple(self._rails)
        self.total = total.rails
        self.settle_s = max(_settle_s(system, chip) for chip in chips)

    def read(self) -> dict[str, float]:
        """Watts of every rail."""
        found = {}
        for label, rail in self._rails.items():
            watts = rail.watts(self._system)
            if watts is None:
                why = self._system.trouble(f"{rail.chip}/in{rail.channel}_input")
                raise DeviceError(f"the rail {label} gives no figure", why or None)
            found[label] = watts
        return found

    def close(self) -> None:
        """Nothing to end."""


def _settle_s(system: System, chip: str) -> float:
    """Each figure is a mean over ``update_interval`` (ms), and may have begun just before."""
    interval = system.number(f"{chip}/update_interval")
    return USUAL_SETTLE_S if interval is None else 2 * interval / 1e3


def _rails(system: System, chip: str) -> dict[str, _Rail]:
    found = {}
    for path in system.matches(f"{chip}/in[1-3]_label"):
        label = system.read(path)
        match = re.search(r"/in(\d)_label$", path)
        if match and label and label != "NC":  # not connected
            found[label] = _Rail(chip, int(match[1]))
    label = system.read(f"{chip}/label")  # a chip of one channel has its label to itself
    return found if found or not label else {label: _Rail(chip, 1)}
