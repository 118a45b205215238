"""Power by ``tegrastats``, which NVIDIA puts on every Jetson."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Sequence

from edgepose.bench.power.ina import USUAL_SETTLE_S
from edgepose.bench.power.meter import Unit
from edgepose.bench.power.rails import total_of
from edgepose.errors import DeviceError

__all__ = ["TegrastatsMeter", "rails_in"]

_INTERVAL_MS = 100
_FIRST_LINE_S = 3.0
_STALE_S = 1.0
# "VDD_IN 4954mW/4900mW": now and mean so far (JetPack 5, 6, 7.0); "VIN 124486mW/36487mW/124486mW":
# and the highest (JetPack 7.2). JetPack 4 writes no mW, and is out of edgepose's range.
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (-?\d+)mW/-?\d+mW(?:/-?\d+mW)?(?!\S)")


def rails_in(line: str) -> dict[str, float]:
    """Watts by rail in a line of tegrastats; empty if it tells none."""
    rails = {name: int(milliwatts) / 1e3 for name, milliwatts in _RAIL.findall(line)}
    rails.pop("NC", None)  # not connected
    return rails


class TegrastatsMeter:
    """A running ``tegrastats`` whose last line counts.

    Args:
        command: What to run.

    Raises:
        DeviceError: It is not there, writes nothing, or tells no rails that are known.
    """

    name = "tegrastats"
    unit: Unit = "watts"
    settle_s = USUAL_SETTLE_S + _INTERVAL_MS / 1e3  # it reads the same chips

    def __init__(
        self, command: Sequence[str] = ("tegrastats", "--interval", str(_INTERVAL_MS))
    ) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - NVIDIA's tool, found on the path
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise DeviceError(
                "tegrastats cannot be run", f"{command[0]}: {error.strerror or error}"
            ) from error
        self._last: tuple[float, str] | None = None
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._follow, name="tegrastats", daemon=True)
        self._reader.start()
        try:
            self._told.wait(_FIRST_LINE_S)
            rails = self.read()
            total = total_of(rails)
        except DeviceError:
            self.close()
            raise
        self.scope = total.scope
        self.rails = tuple(rails)
        self.total = total.rails

    def read(self) -> dict[str, float]:
        """Watts of every rail, from the last line."""
        last = self._last
        if last is None or time.monotonic() - last[0] > _STALE_S:
            code = self._process.poll()
            why = "it writes no lines" if code is None else f"it ended with exit code {code}"
            raise DeviceError("tegrastats does not tell the power", why)
        rails = rails_in(last[1])
        if not rails:
            raise DeviceError(
                "tegrastats does not tell the power", f"its line names no rail: {last[1][:200]!r}"
            )
        return rails

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _follow(self) -> None:
        for line in self._process.stdout or ():
            self._last = (time.monotonic(), line.strip())
            self._told.set()
        self._process.wait()
        self._told.set()  # nobody need wait for a line
