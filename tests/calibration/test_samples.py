"""Observations of recordings: spread evenly, the right frame with the right state, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_datasets import number_in, small_spec, states_of, write_lerobot, write_trajectories

from vpp_edge.calibration.datasets import Recording, open_dataset
from vpp_edge.calibration.datasets.recording import VideoPart
from vpp_edge.calibration.samples import numbered_samples, samples_from_dataset, split_recordings
from vpp_edge.errors import BadInputError

LENGTHS = (5, 12, 3)
TOTAL = sum(LENGTHS)


@pytest.fixture(scope="module", params=["trajectories", "lerobot"])
def recordings(request, tmp_path_factory):
    write = {"trajectories": write_trajectories, "lerobot": write_lerobot}[request.param]
    return open_dataset(write(tmp_path_factory.mktemp("data"), LENGTHS)).recordings


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The second episode of a LeRobot folder, which starts 4 frames into its video; 40 rows."""
    return open_dataset(write_lerobot(tmp_path_factory.mktemp("long"), (4, 40))).recordings[1]


def numbers_of(samples):
    """The painted numbers; every view and the state must agree."""
    found = []
    for sample in samples:
        (first, number), *others = [number_in(image) for image in sample.frames]
        assert first == 0 and others == [(v + 1, number) for v in range(len(others))]
        assert sample.state is None or sample.state.tolist() == [number, number * number, 0.5]
        found.append(number)
    return found


def unread(lengths):
    """Recordings without videos, for tests that read none."""
    return [Recording(str(i), "", n, (VideoPart(Path("none"), "0"),), None) for i, n in enumerate(lengths)]


def test_a_sample_is_what_a_stage_takes(recordings):
    spec = small_spec()
    for sample in samples_from_dataset(spec, recordings, 4, seed=0):
        assert sample.frames.shape == spec.frames_shape and sample.frames.dtype == np.uint8
        assert sample.video_noise.shape == spec.video_noise_shape and sample.video_noise.dtype == np.float32
        assert sample.action_noise.shape == (1, *spec.chunk_shape) and sample.action_noise.dtype == np.float32
        assert sample.proprio.shape == (1, 1, 3) and sample.proprio.dtype == np.float32
        np.testing.assert_allclose(sample.proprio[0, 0, 0], sample.state[0] / 50 - 1, atol=1e-6)


def test_instructions_frames_and_states_belong_together(recordings):
    samples = samples_from_dataset(small_spec(), recordings, TOTAL, seed=0)
    assert numbers_of(samples) == [*range(TOTAL)]
    assert [s.instruction for s in samples] == [f"task {i}" for i, n in enumerate(LENGTHS) for _ in range(n)]


@pytest.mark.parametrize("count", [1, 2, 5, 7, TOTAL - 1])
def test_samples_are_spread_over_all_rows(recordings, count):
    numbers = numbers_of(samples_from_dataset(small_spec(), recordings, count, seed=0))
    assert len(numbers) == count
    steps = np.diff([-1 - (TOTAL - 1 - numbers[-1]), *numbers])  # around the end
    assert steps.min() >= TOTAL // count and steps.max() <= -(-TOTAL // count) + 1


def test_the_seed_decides_the_noise_and_nothing_else(recordings):
    one, again, other = (samples_from_dataset(small_spec(), recordings, 3, seed) for seed in (5, 5, 6))
    for a, b, c in zip(one, again, other, strict=True):
        for name in ("frames", "video_noise", "action_noise", "proprio", "state"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert not np.array_equal(a.video_noise, c.video_noise) and not np.array_equal(a.action_noise, c.action_noise)
        np.testing.assert_array_equal(a.frames, c.frames)
    assert not np.array_equal(one[0].video_noise, one[1].video_noise)


def test_the_noise_is_standard_normal(long):
    noise = np.concatenate([s.video_noise.ravel() for s in samples_from_dataset(small_spec(), [long], 20, seed=1)])
    assert abs(noise.mean()) < 5 / np.sqrt(len(noise)) and abs(noise.std() - 1) < 5 / np.sqrt(len(noise))


@settings(max_examples=10, deadline=None)
@given(ends=st.tuples(st.integers(0, TOTAL - 1), st.integers(0, TOTAL - 1)))
def test_a_part_of_the_samples_is_what_it_is_in_the_whole(recordings, ends):
    spec, numbers = small_spec(), range(min(ends), max(ends))
    whole = list(numbered_samples(spec, recordings, TOTAL - 1, 5, range(TOTAL - 1)))
    assert numbers_of(whole) == numbers_of(samples_from_dataset(spec, recordings, TOTAL - 1, 5))
    part = list(numbered_samples(spec, recordings, TOTAL - 1, 5, numbers))
    assert numbers_of(part) == numbers_of(whole[numbers.start : numbers.stop])
    for one, other in zip(part, whole[numbers.start : numbers.stop], strict=True):
        np.testing.assert_array_equal(one.video_noise, other.video_noise)


def test_fewer_views_are_taken_from_the_first(recordings):
    samples = samples_from_dataset(small_spec(views=1), recordings, 3, seed=0)
    assert all(sample.frames.shape[0] == 1 for sample in samples) and len(set(numbers_of(samples))) == 3


def test_more_cameras_than_views_are_refused(recordings):
    with pytest.raises(BadInputError, match="recording 0 has 2 views, the policy needs 3"):
        samples_from_dataset(small_spec(views=3), recordings, 3, seed=0)


def test_a_policy_without_state_takes_none(recordings):
    samples = samples_from_dataset(small_spec(state=False), recordings, 2, seed=0)
    assert all(s.proprio is None and s.state is None for s in samples)


@pytest.mark.parametrize(("states", "found"), [(np.zeros((5, 2)), "states of 2 numbers"), (None, "no states")])
def test_states_of_another_robot_are_refused(recordings, states, found):
    first = recordings[0]
    other = Recording("0", first.instruction, first.length, first.views, states)
    with pytest.raises(BadInputError, match=f"recording 0 has {found}, the policy takes 3"):
        samples_from_dataset(small_spec(), [other], 2, seed=0)


@pytest.mark.parametrize("count", [0, -1, TOTAL + 1])
def test_more_observations_than_rows_are_refused(recordings, count):
    with pytest.raises(BadInputError, match=f"{count} observations requested, but the recordings have {TOTAL} rows"):
        samples_from_dataset(small_spec(), recordings, count, seed=0)


def test_a_recording_that_is_given_twice_counts_twice(recordings):
    numbers = numbers_of(samples_from_dataset(small_spec(), [recordings[0], recordings[0]], 10, seed=0))
    assert numbers == [*range(5)] * 2


def test_a_recording_that_claims_to_be_endless_costs_no_memory(recordings):
    first = recordings[0]
    endless = Recording("0", "", 100_000_000, first.views, None)
    with pytest.raises(BadInputError, match="ends before row 50000000"):
        samples_from_dataset(small_spec(state=False), [endless], 1, seed=0)


def test_the_last_quarter_of_several_recordings_is_held_out(recordings):
    calibrating, held_out = split_recordings(recordings)
    assert [r.name for r in calibrating] == ["0", "1"] and [r.name for r in held_out] == ["2"]


@given(st.integers(2, 200))
def test_recordings_are_split_without_remainder(count):
    whole = unread([3] * count)
    calibrating, held_out = split_recordings(whole)
    assert calibrating + held_out == whole and calibrating
    assert max(1, count / 4 - 1) <= len(held_out) <= count / 4 + 1


def test_a_single_recording_is_split_in_time_with_a_gap(long):
    (calibrating,), (held_out,) = split_recordings([long])
    assert (calibrating.length, held_out.length) == (28, 10)  # two rows, a twentieth, lie between them
    assert calibrating.name == "1 (rows 0 to 27)" and held_out.name == "1 (rows 30 to 39)"
    assert calibrating.instruction == held_out.instruction == "task 1"
    # The episode's first frame is number 4 of the video.
    np.testing.assert_array_equal(calibrating.states, states_of(4, 28))
    np.testing.assert_array_equal(held_out.states, states_of(34, 10))
    assert numbers_of(samples_from_dataset(small_spec(), [calibrating], 28, seed=0)) == [*range(4, 32)]
    assert numbers_of(samples_from_dataset(small_spec(), [held_out], 10, seed=0)) == [*range(34, 44)]


def test_a_part_can_be_split_again(long):
    _, (held_out,) = split_recordings([long])
    (first,), (second,) = split_recordings([held_out])
    assert numbers_of(samples_from_dataset(small_spec(), [first], first.length, seed=0)) == [*range(34, 41)]
    assert numbers_of(samples_from_dataset(small_spec(), [second], second.length, seed=0)) == [42, 43]


@settings(max_examples=200)
@given(st.integers(1, 10_000))
def test_parts_of_a_single_recording_never_touch(length):
    whole = unread([length])
    if length < 3:
        with pytest.raises(BadInputError, match=f"has {length} rows?, too few"):
            split_recordings(whole)
        return
    (calibrating,), (held_out,) = split_recordings(whole)
    start = held_out.views[0].start
    assert calibrating.length >= 1 and held_out.length >= 1
    assert calibrating.views[0].start == 0 and start + held_out.length == length
    assert start - calibrating.length >= max(1, 0.05 * length - 0.5)


def test_nothing_cannot_be_split():
    with pytest.raises(BadInputError, match="no recording"):
        split_recordings([])


def test_views_are_named_by_camera_by_its_last_part_or_by_number() -> None:
    parts = tuple(VideoPart(Path(name), f"observation.images.{name}") for name in ("wrist", "top", "side"))
    recording = Recording("0", "", 5, parts, None)
    assert recording.with_views(()) is recording
    assert [v.path.name for v in recording.with_views(("top", "observation.images.wrist")).views] == ["top", "wrist"]
    assert [v.path.name for v in recording.with_views(("2", "0")).views] == ["side", "wrist"]
    for name in ("front", "3", "-1", "op"):
        with pytest.raises(BadInputError, match=r"no view .* it has observation\.images\.wrist"):
            recording.with_views((name,))
