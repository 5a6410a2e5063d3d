"""What the kernel's files say about heat and clocks, and what is no cause to slow down."""

from __future__ import annotations

from pathlib import Path

from vpp_edge.runtime.session.throttling import Throttling


def zone(sysfs: Path, number: int, **files: object) -> Path:
    folder = sysfs / f"class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def test_a_zone_is_hot_from_its_lowest_slowing_trip_until_three_degrees_below(tmp_path: Path) -> None:
    folder = zone(
        tmp_path, 0, type="gpu-thermal", temp=60_000, trip_point_0_type="critical", trip_point_0_temp=50_000,
        trip_point_1_type="hot", trip_point_1_temp=97_000, trip_point_2_type="passive", trip_point_2_temp=95_500,
    )  # fmt: skip
    throttling, hot = Throttling(tmp_path), ("gpu-thermal is at its limit of 95.5 °C",)
    seen = []
    for temperature in (60_000, 95_400, 95_500, 93_000, 92_400, 95_000):
        (folder / "temp").write_text(f"{temperature}\n")
        seen.append(throttling.causes())
    assert seen == [(), (), hot, hot, (), ()]


def test_a_lower_power_mode_is_a_cause_and_a_higher_one_is_none(tmp_path: Path) -> None:
    clock = tmp_path / "devices/system/cpu/cpufreq/policy4/scaling_max_freq"
    clock.parent.mkdir(parents=True)
    clock.write_text("2201600\n")
    throttling = Throttling(tmp_path)
    assert throttling.causes() == ()
    clock.write_text("1497600\n")
    assert throttling.causes() == ("policy4 may run at 1.50 GHz, 2.20 at the start",)
    clock.write_text("2300000\n")
    assert throttling.causes() == ()


def test_sensors_that_do_not_answer_and_zones_without_a_limit_are_no_cause(tmp_path: Path) -> None:
    folder = zone(tmp_path, 0, type="off", trip_point_0_type="passive", trip_point_0_temp=80_000)
    zone(tmp_path, 1, type="ambient", temp=99_000)
    zone(tmp_path, 2, type="disabled", temp=99_000, trip_point_0_type="passive", trip_point_0_temp=-274_000)
    throttling = Throttling(tmp_path)
    assert throttling.causes() == ()
    (folder / "temp").write_text("no number")
    assert throttling.causes() == ()
    assert Throttling(tmp_path / "nowhere").causes() == ()
