"""Energy of a PC's processor: RAPL counters, of Intel and (under the same names) AMD."""

from __future__ import annotations

from edgepose.bench.power.meter import Unit
from edgepose.errors import DeviceError
from edgepose.system import System

__all__ = ["RaplMeter"]

_ZONES = "/sys/class/powercap/intel-rapl:*"


class RaplMeter:
    """The package domain of each socket, in the kernel's powercap files.

    Files and units are of Linux's Documentation/power/powercap/powercap.rst. Cores, uncore and
    memory controller lie inside the package, ``psys`` contains it, and neither is counted. AMD's
    processors have it from Linux 5.11. Since Linux 5.10 root alone may read the counter
    (CVE-2020-8694: it gives away what others compute).

    Args:
        system: The machine.

    Raises:
        DeviceError: There is no counter, or this user may not read it.
    """

    name = "RAPL"
    unit: Unit = "joules"
    settle_s = 0.0  # it moves every millisecond

    def __init__(self, system: System) -> None:
        self._system = system
        self._zones = {
            system.read(f"{zone}/name"): zone
            for zone in system.matches(_ZONES)
            if system.read(f"{zone}/name").startswith("package")
        }
        if not self._zones:
            raise DeviceError(
                "no RAPL counter is here",
                "/sys/class/powercap shows no package: a virtual machine, a container that hides "
                "it, a processor without it, or a kernel without the driver intel_rapl_msr",
            )
        for zone in self._zones.values():
            trouble = system.trouble(f"{zone}/energy_uj")
            if trouble:
                raise DeviceError(
                    "the RAPL counter cannot be read",
                    f"{trouble} (since Linux 5.10 root alone may)",
                    f"sudo chmod a+r {zone}/energy_uj (until the next start), or run as root",
                )
        self.rails = tuple(self._zones)
        self.total = self.rails
        self.scope = "the processor's package, whoever uses it; no memory, drives or power supply"
        self._last = {name: self._counter(name) for name in self.rails}
        self._sums = dict.fromkeys(self.rails, 0)

    def read(self) -> dict[str, float]:
        """Joules since this meter was made. To be read more often than the counter goes round."""
        for name in self.rails:
            now = self._counter(name)
            passed = now - self._last[name]
            if passed < 0:  # it went round: 65 to 262 kJ, minutes at full power
                size = self._system.number(f"{self._zones[name]}/max_energy_range_uj")
                if size is None:
                    raise DeviceError(
                        "the RAPL counter cannot be followed", "it went round at an unknown figure"
                    )
                passed += size
            self._last[name] = now
            self._sums[name] += passed
        return {name: microjoules / 1e6 for name, microjoules in self._sums.items()}

    def close(self) -> None:
        """Nothing to end."""

    def _counter(self, name: str) -> int:
        path = f"{self._zones[name]}/energy_uj"
        value = self._system.number(path)
        if value is None:
            raise DeviceError("the RAPL counter cannot be read", self._system.trouble(path) or None)
        return value
