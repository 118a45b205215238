"""What a meter of power or energy is."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["Meter", "Unit"]

Unit = Literal["watts", "joules"]


class Meter(Protocol):
    """Something that tells the power or the energy of parts of the machine."""

    @property
    def name(self) -> str:
        """What it is, e.g. ``INA3221``."""

    @property
    def scope(self) -> str:
        """What its total covers, and what not, in words."""

    @property
    def unit(self) -> Unit:
        """Whether it tells power, or energy since some moment (which never falls)."""

    @property
    def rails(self) -> tuple[str, ...]:
        """All parts that it tells of."""

    @property
    def total(self) -> tuple[str, ...]:
        """Those rails that add up to the whole: none of them contains another."""

    @property
    def settle_s(self) -> float:
        """For how long after a change of load its figures still tell of what was before."""

    def read(self) -> dict[str, float]:
        """Watts or joules of every rail, now.

        Raises:
            DeviceError: It does not tell.
        """

    def close(self) -> None:
        """End what it runs."""
