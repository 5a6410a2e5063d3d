"""What the kernel's files say about temperatures, clocks and over-current, and what is no cause to slow down."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpp_edge.runtime.session.throttling import OVER_CURRENT_NS, Throttling


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


@pytest.mark.parametrize("name", ["17000000.gpu", "gpu-gpc-0"])
def test_a_lower_limit_of_the_gpu_clock_is_a_cause(tmp_path: Path, name: str) -> None:
    clock = tmp_path / "class/devfreq" / name / "max_freq"
    memory = tmp_path / "class/devfreq/memory-controller/max_freq"
    for file, hertz in ((clock, 1_300_500_000), (memory, 3_199_000_000)):
        file.parent.mkdir(parents=True)
        file.write_text(f"{hertz}\n")
    throttling = Throttling(tmp_path)
    assert throttling.causes() == ()
    memory.write_text("2133000000\n")  # not the GPU
    clock.write_text("612000000\n")
    assert throttling.causes() == (f"GPU {name} may run at 0.61 GHz, 1.30 at the start",)
    clock.write_text("1300500000\n")
    assert throttling.causes() == ()


def test_an_over_current_event_is_a_cause_for_some_seconds(tmp_path: Path) -> None:
    now_ns = [0]
    counter = tmp_path / "class/hwmon/hwmon3/oc3_event_cnt"
    counter.parent.mkdir(parents=True)
    counter.write_text("7\n")  # of earlier, before this run
    throttling = Throttling(tmp_path, now_ns=lambda: now_ns[0])
    assert throttling.causes() == ()
    counter.write_text("9\n")
    cause = ("over-current event OC3 (9 so far); check power supply and power mode",)
    assert throttling.causes() == cause
    now_ns[0] = OVER_CURRENT_NS - 1
    assert throttling.causes() == cause
    now_ns[0] = OVER_CURRENT_NS
    assert throttling.causes() == ()
