"""Power by jetson-stats (``jtop``), where somebody has installed it.

It is nobody's requirement here: a service of its own that needs root to be installed, under the
AGPL. It helps in a container that does not see the board's chips and is given ``/run/jtop.sock``.
"""

from __future__ import annotations

import importlib
from typing import Any

from edgepose.bench.power.ina import USUAL_SETTLE_S
from edgepose.bench.power.meter import Unit
from edgepose.bench.power.rails import total_of
from edgepose.errors import DeviceError

__all__ = ["JtopMeter"]

_INTERVAL_S = 0.2


class JtopMeter:
    """The ``power`` of jetson-stats 4 and later: rails by name, milliwatts.

    Its own total is passed over: where it knows no rail of the whole it adds up all, and on AGX
    Orin one of them contains another.

    Raises:
        DeviceError: It is not installed, its service is out of reach, or it tells no rails that are
            known.
    """

    name = "jetson-stats"
    unit: Unit = "watts"
    settle_s = USUAL_SETTLE_S + 2 * _INTERVAL_S  # it reads the same chips

    def __init__(self) -> None:
        try:
            jtop = importlib.import_module("jtop").jtop
        except ImportError as error:
            raise DeviceError("jetson-stats is not installed", str(error)) from error
        try:
            self._jtop = jtop(interval=_INTERVAL_S)
            self._jtop.start()
        except Exception as error:  # its errors share no base but Exception
            raise DeviceError(
                "the service of jetson-stats is out of reach",
                " ".join(str(error).split()) or type(error).__name__,
                "sudo systemctl restart jtop.service; in a container, mount /run/jtop.sock",
            ) from error
        try:
            self._jtop.ok()  # waits for the first figures
            rails = self.read()
            total = total_of(rails)
        except DeviceError:
            self.close()
            raise
        self.scope = total.scope
        self.rails = tuple(rails)
        self.total = total.rails

    def read(self) -> dict[str, float]:
        """Watts of every rail."""
        try:
            if not self._jtop.ok(spin=True):
                raise DeviceError("jetson-stats does not tell the power", "its service has ended")
            power: Any = self._jtop.power
            rails = {name: row["power"] / 1e3 for name, row in power["rail"].items()}
            whole = power["tot"]  # the rail of the whole is taken out of the others
            if whole.get("name"):
                rails[whole["name"]] = whole["power"] / 1e3
        except DeviceError:
            raise
        except Exception as error:  # as above
            raise DeviceError(
                "jetson-stats does not tell the power",
                f"{type(error).__name__}: {error}",
                "version 4 or later is needed: sudo pip3 install -U jetson-stats",
            ) from error
        return rails

    def close(self) -> None:
        """Leave the service."""
        self._jtop.close()
