"""Acts come as soon as a look is ready, then evenly until the next one, never in a burst."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.policy.act_schedule import ActSchedule, check_acts_per_look
from vpp_edge.runtime.policy.handover_modes import ENSEMBLE, MODES, NAIVE, RTC, SYNCHRONOUS

MS = 1_000_000


def act_times(acts: int, polls: list[int], interval_ns: int) -> list[int]:
    """When a policy acts that polls at these times, on a look that is ready at 0."""
    schedule, times = ActSchedule(acts), []
    assert not schedule.due(0)
    schedule.begin(0, interval_ns)
    for now_ns in polls:
        if schedule.due(now_ns):
            assert schedule.first == (not times) and schedule.done == len(times)
            schedule.acted(now_ns)
            times.append(now_ns)
    return times


@pytest.mark.parametrize(("acts", "expected"), [(1, [0]), (2, [0, 100 * MS]), (4, [0, 50 * MS, 100 * MS, 150 * MS])])
def test_acts_are_spread_evenly_until_the_next_look(acts: int, expected: list[int]) -> None:
    assert act_times(acts, [i * MS for i in range(1000)], 200 * MS) == expected


@given(st.integers(1, 16), st.lists(st.integers(1, 300 * MS), min_size=1, max_size=60), st.integers(16, 500 * MS))
def test_late_polls_delay_acts_and_never_bunch_them(acts: int, pauses: list[int], interval_ns: int) -> None:
    polls = [sum(pauses[:i]) for i in range(len(pauses) + 1)]
    times, gap_ns = act_times(acts, polls, interval_ns), interval_ns // acts
    assert len(times) <= acts and times[0] == 0
    assert all(now >= i * gap_ns for i, now in enumerate(times))
    assert all(third - first >= gap_ns for first, third in zip(times, times[2:], strict=False))


def test_an_end_is_an_end_until_the_next_look() -> None:
    schedule = ActSchedule(3)
    schedule.begin(0, 30)
    schedule.acted(0)
    schedule.end()
    assert not schedule.due(10**12)
    schedule.begin(50, 30)
    assert schedule.first and schedule.due(50)


@pytest.mark.parametrize("acts", [0, -1, 17, 2.0, True, "3", None])
def test_what_is_no_number_of_acts_is_refused(acts: object) -> None:
    with pytest.raises(BadInputError, match="acts_per_look"):
        check_acts_per_look(acts, RTC)  # type: ignore[arg-type]


def test_only_chunks_that_follow_one_another_can_be_several_of_a_look() -> None:
    for mode in MODES:
        check_acts_per_look(1, mode)
    for mode in (RTC, NAIVE):
        check_acts_per_look(16, mode)
    with pytest.raises(BadInputError, match="synchronous: it plays every chunk to its end"):
        check_acts_per_look(2, SYNCHRONOUS)
    with pytest.raises(BadInputError, match="ensemble: it averages what different looks say"):
        check_acts_per_look(2, ENSEMBLE)
