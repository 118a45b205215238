"""Which of a Jetson's rails add up to the whole. Some contain others, so that a plain sum lies."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edgepose.errors import DeviceError

__all__ = ["Total", "total_of"]


@dataclass(frozen=True)
class Total:
    """What counts as the whole.

    Attributes:
        rails: Rails to add up.
        scope: What that covers, in words.
    """

    rails: tuple[str, ...]
    scope: str


# The first row whose rails are all there. From NVIDIA's Jetson Linux Developer Guide (platform
# power and performance) and its staff's words in the forum:
# - Orin Nano and NX, Xavier NX: VDD_IN is the module's input and contains the other two rails.
# - AGX Orin has no rail of the whole. VIN_SYS_5V0 feeds VDDQ_VDD2_1V8AO, so that this one is left
#   out (forum 223111).
# - Thor: VIN, of another chip on the carrier (INA238), is the input of module and carrier and
#   contains the other three; a carrier of somebody's own may lack it.
# - AGX Xavier: six rails side by side.
# - Nano: POM_5V_IN contains the others (forum 73608).
_TOTALS = (
    Total(("VIN",), "the input of module and carrier board"),
    Total(("VDD_IN",), "the input of the module; the carrier board is not in it"),
    Total(("POM_5V_IN",), "the input of the module and most of its board"),
    Total(
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "the module's supplies; the carrier board is not in them",
    ),
    Total(
        ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
        "the module's supplies; the carrier board is not in them",
    ),
    Total(
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        "the module's supplies; the carrier board is not in them",
    ),
)


def total_of(rails: Collection[str]) -> Total:
    """What adds up to the whole.

    Raises:
        DeviceError: No board is known to have these rails.
    """
    for total in _TOTALS:
        if set(total.rails) <= set(rails):
            return total
    raise DeviceError(
        "the power of the whole board is not known",
        f"its rails are {', '.join(sorted(rails)) or 'none'}, and which of them contain others is "
        "not known for this board",
    )
