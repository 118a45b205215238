"""Boards and PCs as trees of files: what their kernels show of power, clocks and heat.

Rails, figures and texts are as owners of such machines post them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepose.system import Ran, System
from tests.doctor.machines import ORIN_NANO_FILES

Files = dict[str, str]


def machine(
    root: Path,
    files: Mapping[str, str],
    tools: Mapping[str, str] | None = None,
    forbidden: Sequence[str] = (),
) -> System:
    """A machine of these files and tools, some of them not for this user."""
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)

    def run(command: Sequence[str]) -> Ran:
        said = (tools or {}).get(command[0])
        return Ran(None) if said is None else Ran(0, said)

    def load(path: Path) -> str:
        if "/" + path.relative_to(root).as_posix() in forbidden:
            raise PermissionError(13, "Permission denied")
        return path.read_text()

    return System(root=root, run=run, load=load)


def set_file(system: System, path: str, text: str) -> None:
    (system.root / path.lstrip("/")).write_text(text)


def chip(number: int, name: str, channels: Mapping[int, tuple[str, int, int]]) -> Files:
    """A monitor: channel -> (label, mV, mA), with what else its driver shows."""
    folder = f"/sys/class/hwmon/hwmon{number}"
    files = {f"{folder}/name": f"{name}\n", f"{folder}/update_interval": "430\n"}
    for channel, (label, millivolts, milliamperes) in channels.items():
        files[f"{folder}/in{channel}_label"] = f"{label}\n"
        files[f"{folder}/in{channel}_input"] = f"{millivolts}\n"
        files[f"{folder}/curr{channel}_input"] = f"{milliamperes}\n"
        files[f"{folder}/in{channel + 3}_input"] = "1240\n"  # voltage of the shunt
    files[f"{folder}/in7_label"] = "sum of shunt voltages\n"
    files[f"{folder}/in7_input"] = "3720\n"
    files[f"{folder}/curr4_input"] = "99999\n"
    return files


def cores(count: int, low: int, high: int, now: int, governor: str) -> Files:
    """Clocks of a CPU, kHz."""
    files = {}
    for core in range(count):
        folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{folder}/scaling_cur_freq": f"{now}\n",
            f"{folder}/scaling_min_freq": f"{low}\n",
            f"{folder}/scaling_max_freq": f"{high}\n",
            f"{folder}/cpuinfo_max_freq": f"{high}\n",
            f"{folder}/scaling_governor": f"{governor}\n",
        }
    return files


ORIN_NANO: Files = (
    ORIN_NANO_FILES
    | chip(
        1,
        "ina3221",
        {
            1: ("VDD_IN", 5016, 1520),  # 7.624 W
            2: ("VDD_CPU_GPU_CV", 5008, 416),  # 2.083 W
            3: ("VDD_SOC", 5008, 480),  # 2.404 W
        },
    )
    | cores(6, 729_600, 1_728_000, 1_344_000, "schedutil")
    | {
        "/proc/loadavg": "0.31 0.40 0.42 1/512 4242\n",
        "/sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",  # asleep: it has no temp to tell
        "/sys/class/thermal/cooling_device0/stats/total_trans": "4\n",
        "/sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
        "/sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
        "/sys/class/hwmon/hwmon3/oc2_event_cnt": "15\n",
        "/sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
    }
)
ORIN_NANO_TOOLS = {"nvpmodel": "NV Power Mode: 25W\n1\n"}

AGX_ORIN: Files = {
    "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "/proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
    **chip(
        3,
        "ina3221",
        {
            1: ("VDD_GPU_SOC", 19_112, 170),  # 3.249 W
            2: ("VDD_CPU_CV", 19_112, 750),  # 14.334 W
            3: ("VIN_SYS_5V0", 4968, 1000),  # 4.968 W
        },
    ),
    **chip(4, "ina3221", {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 4960, 220), 3: ("NC", 0, 0)}),
}

THOR: Files = {
    "/proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "/proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0",
    **chip(
        1,
        "ina3221",
        {
            1: ("VDD_GPU", 12_040, -32),  # asleep, within the offset: -0.385 W
            2: ("VDD_CPU_SOC_MSS", 12_040, 328),  # 3.949 W
            3: ("VIN_SYS_5V0", 5088, 1000),  # 5.088 W
        },
    ),
    "/sys/class/hwmon/hwmon6/name": "ina238\n",
    "/sys/class/hwmon/hwmon6/label": "VIN\n",
    "/sys/class/hwmon/hwmon6/in0_input": "1\n",
    "/sys/class/hwmon/hwmon6/in1_input": "20000\n",
    "/sys/class/hwmon/hwmon6/curr1_input": "750\n",
    "/sys/class/hwmon/hwmon6/power1_input": "15004000\n",
}

_RAPL = "/sys/class/powercap/intel-rapl:0"
RYZEN: Files = {
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD Ryzen 7 7700X 8-Core Processor\n",
    "/proc/loadavg": "0.05 0.10 0.20 1/900 777\n",
    **cores(4, 400_000, 5_573_000, 4_500_000, "powersave"),
    "/sys/devices/system/cpu/cpufreq/boost": "1\n",
    f"{_RAPL}/name": "package-0\n",
    f"{_RAPL}/energy_uj": "65532000000\n",
    f"{_RAPL}/max_energy_range_uj": "65532610987\n",
    f"{_RAPL}:0/name": "core\n",
    f"{_RAPL}:0/energy_uj": "1000000\n",
    "/sys/class/hwmon/hwmon2/name": "k10temp\n",
    "/sys/class/hwmon/hwmon2/temp1_label": "Tctl\n",
    "/sys/class/hwmon/hwmon2/temp1_input": "45125\n",
}

INTEL: Files = {
    "/proc/loadavg": "0.05 0.10 0.20 1/900 777\n",
    **cores(2, 800_000, 4_600_000, 4_300_000, "performance"),
    "/sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
    "/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
    "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "7\n",
    "/sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "7\n",
    "/sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "/sys/class/thermal/thermal_zone0/temp": "52000\n",
    "/sys/class/hwmon/hwmon1/name": "coretemp\n",
    "/sys/class/hwmon/hwmon1/temp1_label": "Package id 0\n",
    "/sys/class/hwmon/hwmon1/temp1_input": "52000\n",
    "/sys/class/hwmon/hwmon1/temp2_label": "Core 0\n",
    "/sys/class/hwmon/hwmon1/temp2_input": "50000\n",
    "/sys/class/thermal/cooling_device0/type": "Processor\n",
    "/sys/class/thermal/cooling_device0/cur_state": "0\n",
    "/sys/class/thermal/cooling_device1/type": "Processor\n",
    "/sys/class/thermal/cooling_device1/cur_state": "0\n",
    "/sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "/sys/class/powercap/intel-rapl:0/energy_uj": "1000000\n",
    "/sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "/sys/class/powercap/intel-rapl:1/name": "package-1\n",
    "/sys/class/powercap/intel-rapl:1/energy_uj": "5000000\n",
    "/sys/class/powercap/intel-rapl:1/max_energy_range_uj": "262143328850\n",
    "/sys/class/powercap/intel-rapl:2/name": "psys\n",
    "/sys/class/powercap/intel-rapl:2/energy_uj": "9000000\n",
}

CONTAINER: Files = {
    "/.dockerenv": "",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\n",
    "/proc/loadavg": "1.05 1.21 1.67 2/95 9442\n",
    "/proc/stat": "cpu  2499115 2749473 457531 1200719 13120 0 2091 7885 0 0\ncpu0 1 2 3\n",
    "/proc/self/cgroup": "0::/kubepods/pod7/box\n",
    "/sys/fs/cgroup/kubepods/pod7/cpu.max": "200000 100000\n",
    "/sys/fs/cgroup/kubepods/pod7/cpu.stat": "usage_usec 5\nnr_periods 90\nnr_throttled 3\n",
    "/sys/fs/cgroup/kubepods/pod7/box/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/kubepods/cpu.max": "400000 100000\n",
}
