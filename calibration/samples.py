"""Turn recordings into samples for a policy, and split them into a calibration and a held-out part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vpp_edge.calibration.datasets import Recording
from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample, sample_from_images
from vpp_edge.wording import counted

HELD_OUT_SHARE = 0.25  # of the recordings, or the end of a single one
_GAP_SHARE = 0.05  # between the two parts of a single recording, so that they share no neighbouring frames


def samples_from_dataset(spec: PolicySpec, recordings: Sequence[Recording], count: int, seed: int) -> list[Sample]:
    """`count` observations, of the rows that `picked_rows` says.

    Args:
        seed: of the noise, standard normal, drawn for one observation after the other.

    Raises:
        BadInputError: fewer rows than observations, fewer views than cameras, or states of another size.
    """
    generator = np.random.default_rng(seed)
    return [_sample(spec, *seen, generator) for _, seen in _observed(spec, recordings, count, range(count))]


def numbered_samples(
    spec: PolicySpec, recordings: Sequence[Recording], count: int, seed: int, numbers: range
) -> Iterator[Sample]:
    """The observations with these numbers, of the `count` that `samples_from_dataset` takes.

    The noise of number n is drawn from (seed, n), so it does not matter who asks for which of them, nor when. Images of
    one recording are in memory at a time.
    """
    for number, seen in _observed(spec, recordings, count, numbers):
        yield _sample(spec, *seen, np.random.default_rng((seed, number)))


def _observed(
    spec: PolicySpec, recordings: Sequence[Recording], count: int, numbers: range
) -> Iterator[tuple[int, tuple[Recording, int, list[np.ndarray]]]]:
    """(number, (recording, row, images)) of the observations with these numbers."""
    end = 0
    for recording, rows in picked_rows(recordings, count):
        start, end = end, end + len(rows)
        here = range(max(start, numbers.start), min(end, numbers.stop))
        chosen = [rows[number - start] for number in here]
        images = recording.images(chosen, len(spec.cameras)) if chosen else []
        for number, row, pictures in zip(here, chosen, images, strict=True):
            yield number, (recording, row, pictures)


def _sample(
    spec: PolicySpec, recording: Recording, row: int, images: list[np.ndarray], generator: np.random.Generator
) -> Sample:
    state = _state(spec, recording, row)
    return sample_from_images(spec, recording.instruction, images, state=state, generator=generator)


def picked_rows(recordings: Sequence[Recording], count: int) -> list[tuple[Recording, list[int]]]:
    """Every recording with its share, which may be none, of `count` rows that are spread evenly over all of them.

    Raises:
        BadInputError: fewer rows than that.
    """
    total = sum(recording.length for recording in recordings)
    if not 1 <= count <= total:
        raise BadInputError(f"{count} observations requested, but the recordings have {total} rows")
    middles = [(2 * i + 1) * total // (2 * count) for i in range(count)]  # of equal parts
    picked, end = [], 0
    for recording in recordings:
        start, end = end, end + recording.length
        picked.append((recording, [row - start for row in middles if start <= row < end]))
    return picked


def _state(spec: PolicySpec, recording: Recording, row: int) -> np.ndarray | None:
    if spec.state is None:
        return None
    if recording.states is None or recording.states.shape[1] != spec.state.dims:
        found = "no states" if recording.states is None else f"states of {recording.states.shape[1]} numbers"
        raise BadInputError(
            f"recording {recording.name} has {found}, the policy takes {spec.state.dims}; use recordings of this robot"
        )
    return recording.states[row]


def split_recordings(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """Splits recordings into those to calibrate on and held-out ones: the last quarter, at least one.

    A single recording is split in time, with a gap between the parts.

    Raises:
        BadInputError: no recording, or a single one that is too short.
    """
    if not recordings:
        raise BadInputError("no recordings to calibrate and evaluate on; select at least one")
    if len(recordings) > 1:
        held_out = max(1, round(len(recordings) * HELD_OUT_SHARE))
        return list(recordings[:-held_out]), list(recordings[-held_out:])
    whole = recordings[0]
    start = round(whole.length * (1 - HELD_OUT_SHARE))
    end = start - max(1, round(whole.length * _GAP_SHARE))
    if end < 1 or start >= whole.length:
        raise BadInputError(
            f"recording {whole.name} has {counted(whole.length, 'row')}, too few to calibrate and evaluate on"
        )
    return [_part(whole, 0, end)], [_part(whole, start, whole.length)]


def _part(recording: Recording, start: int, end: int) -> Recording:
    views = tuple(replace(view, start=view.start + start) for view in recording.views)
    states = None if recording.states is None else recording.states[start:end]
    name = f"{recording.name} (rows {start} to {end - 1})"
    return Recording(name=name, instruction=recording.instruction, length=end - start, views=views, states=states)
