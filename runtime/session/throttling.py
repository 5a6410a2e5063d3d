"""Whether the machine is being slowed down: in, the kernel's files about heat and clocks; out, in words why, if it is.

Linux, so also a Jetson: zones with their trip points (Documentation/driver-api/thermal/sysfs-api.rst) and the highest
frequency that the present power mode allows (Documentation/admin-guide/pm/cpufreq.rst).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SLOWING = ("passive", "hot")  # trip points at which the kernel or the board lowers clocks
COOLED_MILLIDEGREES = 3000  # below the trip point, until a zone counts as cool again
NO_SENSOR = -1_000_000


@dataclass
class _Zone:
    """One sensor with the temperature at which it slows the machine down."""

    name: str
    file: Path
    trip_millidegrees: int
    hot: bool = False


class Throttling:
    """Watches heat and clocks. Cheap enough to ask twice a second.

    Args:
        sysfs: where the kernel's files are.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        folders = sorted((sysfs / "class/thermal").glob("thermal_zone*"))
        self._zones = [zone for folder in folders if (zone := _zone_of(folder)) is not None]
        clocks = sorted((sysfs / "devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"))
        self._clocks = [(file, _number(file, 0)) for file in clocks]

    def causes(self) -> tuple[str, ...]:
        """Why the machine is slower now than at the start, each in words; empty where nothing slows it."""
        return (*self._hot_zones(), *self._lower_clocks())

    def _hot_zones(self) -> list[str]:
        for zone in self._zones:
            limit = zone.trip_millidegrees - (COOLED_MILLIDEGREES if zone.hot else 0)
            zone.hot = _number(zone.file, NO_SENSOR) >= limit
        return [
            f"{zone.name} is at its limit of {zone.trip_millidegrees / 1000:g} °C" for zone in self._zones if zone.hot
        ]

    def _lower_clocks(self) -> list[str]:
        now = [(file, first, _number(file, first)) for file, first in self._clocks]
        return [
            f"{file.parent.name} may run at {khz / 1e6:.2f} GHz, {first / 1e6:.2f} at the start"
            for file, first, khz in now
            if khz < first
        ]


def _zone_of(folder: Path) -> _Zone | None:
    trips = [
        _number(kind.with_name(kind.name.replace("_type", "_temp")), NO_SENSOR)
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
