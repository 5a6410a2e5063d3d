"""Whether the machine is being slowed down, from the kernel's files about temperatures, clocks and over-current.

Linux, so also a Jetson:
- thermal zones and their trip points (Documentation/driver-api/thermal/sysfs-api.rst);
- the highest frequency that the present power mode allows, of the CPU (Documentation/admin-guide/pm/cpufreq.rst) and of
  the GPU (Documentation/ABI/testing/sysfs-class-devfreq; `17000000.gpu` on an Orin, `gpu-gpc-0` on newer systems);
- over-current events, at which a Jetson throttles in hardware: `oc<n>_event_cnt` of its hwmon device (NVIDIA Jetson
  Linux Developer Guide r36.3, Platform Power and Performance, Jetson Orin, "Over-Current").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SLOWING = ("passive", "hot")  # trip points at which the kernel or the board lowers clocks
COOLED_MILLIDEGREES = 3000  # below the trip point, until a zone counts as cool again
GPU_NAMES = ("gpu", "gpc", "ga10b", "gv11b")  # in the name of a devfreq device
OVER_CURRENT_NS = 5_000_000_000  # how long an event counts: the hardware throttles for moments, again and again
UNREADABLE = -1_000_000


@dataclass
class _Zone:
    """One sensor with the temperature at which it slows the machine down."""

    name: str
    file: Path
    trip_millidegrees: int
    hot: bool = False


@dataclass(frozen=True)
class _Clock:
    """The frequency limit of a device, and what it was at the start."""

    name: str
    file: Path
    first: int
    per_ghz: float


@dataclass
class _OverCurrent:
    """A counter of over-current events, and when it last grew."""

    name: str
    file: Path
    count: int
    grew_ns: int | None = None


class Throttling:
    """Watches temperatures, clocks and over-current events. Cheap enough to call twice a second.

    Args:
        sysfs: where the kernel's files are.
        now_ns: the clock, monotonic nanoseconds.
    """

    def __init__(self, sysfs: Path = Path("/sys"), now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        folders = sorted((sysfs / "class/thermal").glob("thermal_zone*"))
        self._zones = [zone for folder in folders if (zone := _zone_of(folder)) is not None]
        cpus = sorted((sysfs / "devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"))
        gpus = [
            file
            for file in sorted((sysfs / "class/devfreq").glob("*/max_freq"))
            if any(name in file.parent.name for name in GPU_NAMES)
        ]
        self._clocks = [
            *(_Clock(file.parent.name, file, first=_number(file, 0), per_ghz=1e6) for file in cpus),
            *(_Clock(f"GPU {file.parent.name}", file, first=_number(file, 0), per_ghz=1e9) for file in gpus),
        ]
        counters = sorted((sysfs / "class/hwmon").glob("hwmon*/oc*_event_cnt"))
        self._over_current = [_OverCurrent(f.name.partition("_")[0].upper(), f, _number(f, 0)) for f in counters]

    def causes(self) -> tuple[str, ...]:
        """Why the machine is slower now than at the start, one phrase each; empty where nothing slows it."""
        return (*self._hot_zones(), *self._lower_clocks(), *self._over_current_events())

    def _hot_zones(self) -> list[str]:
        for zone in self._zones:
            limit = zone.trip_millidegrees - (COOLED_MILLIDEGREES if zone.hot else 0)
            zone.hot = _number(zone.file, UNREADABLE) >= limit
        return [
            f"{zone.name} is at its limit of {zone.trip_millidegrees / 1000:g} °C" for zone in self._zones if zone.hot
        ]

    def _lower_clocks(self) -> list[str]:
        now = [(clock, _number(clock.file, clock.first)) for clock in self._clocks]
        return [
            f"{clock.name} may run at {limit / clock.per_ghz:.2f} GHz, {clock.first / clock.per_ghz:.2f} at the start"
            for clock, limit in now
            if limit < clock.first
        ]

    def _over_current_events(self) -> list[str]:
        now_ns = self._now_ns()
        for counter in self._over_current:
            count = _number(counter.file, counter.count)
            if count > counter.count:
                counter.grew_ns = now_ns
            counter.count = count
        return [
            f"over-current event {counter.name} ({counter.count} so far); check power supply and power mode"
            for counter in self._over_current
            if counter.grew_ns is not None and now_ns - counter.grew_ns < OVER_CURRENT_NS
        ]


def _zone_of(folder: Path) -> _Zone | None:
    trips = [
        _number(kind.with_name(kind.name.replace("_type", "_temp")), UNREADABLE)
        for kind in folder.glob("trip_point_*_type")
        if _text(kind) in SLOWING
    ]
    known = [trip for trip in trips if trip > 0]
    return _Zone(_text(folder / "type") or folder.name, folder / "temp", min(known)) if known else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # a sensor that is switched off answers with an error
        return ""


def _number(file: Path, otherwise: int) -> int:
    text = _text(file)
    return int(text) if text.lstrip("-").isdigit() else otherwise
