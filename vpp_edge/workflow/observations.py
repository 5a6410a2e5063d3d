"""Observations to calibrate on and held-out ones to evaluate on, from recordings that the two do not share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.separation import RecordingContent, Separation, separation
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.wording import counted

if TYPE_CHECKING:
    from vpp_edge.spec.sample import Sample  # loads numpy, which --help must not


@dataclass(frozen=True)
class DataOptions:
    """Which observations to use.

    Attributes:
        dataset: a folder or annotation in one of the layouts of vpp_edge.calibration.datasets.
        recordings: names of those to calibrate on; the others are held out. Empty: the first part of all recordings.
        views: the views of the recordings for the policy's cameras, in their order; empty: the first ones.
        held_out: another data set to evaluate on; None: the rest of `dataset`.
        samples, held_out_samples: number of observations of each.
        seed: of their noise.
    """

    dataset: Path
    recordings: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    held_out: Path | None = None
    samples: int = 16
    held_out_samples: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        COUNT.check("samples", self.samples)
        COUNT.check("held_out_samples", self.held_out_samples)


@dataclass(frozen=True)
class Observations:
    """Samples and their origin.

    Attributes:
        description, data: the origin for people, in words and for the calibration table.
        content: of the recordings, those included that no sample was taken from.
        part_of: name of the recording whose part this is; "" for whole ones.
    """

    samples: tuple[Sample, ...]
    description: str
    data: dict[str, Any]
    content: tuple[RecordingContent, ...]
    part_of: str = ""


def observations(spec: PolicySpec, options: DataOptions) -> tuple[Observations, Observations]:
    """Observations to calibrate on, and held-out ones to evaluate on.

    Raises:
        BadInputError: the data set does not fit the policy, or leaves nothing to evaluate on.
    """
    from vpp_edge.calibration.datasets import open_dataset
    from vpp_edge.calibration.samples import split_recordings

    dataset = open_dataset(options.dataset)
    if options.recordings:
        calibrating = list(dataset.select(options.recordings).recordings)
        held_out = [r for r in dataset.recordings if r.name not in options.recordings]
    else:
        calibrating, held_out = list(dataset.recordings), []
    part_of = ""
    if not held_out and options.held_out is None:
        part_of = calibrating[0].name if len(calibrating) == 1 else ""
        calibrating, held_out = split_recordings(calibrating)
    seen = _taken(spec, recordings=calibrating, views=options.views, count=options.samples, seed=options.seed)
    if options.held_out is not None:
        return seen, held_out_observations(spec, replace(options, dataset=options.held_out, recordings=()))
    return seen, replace(_judged(spec, held_out, options), part_of=part_of)


def held_out_observations(spec: PolicySpec, options: DataOptions) -> Observations:
    """Observations of a data set to evaluate on, without the recordings that `options` names for the calibration.

    Raises:
        BadInputError: the data set does not fit the policy, or has no other recording.
    """
    from vpp_edge.calibration.datasets import open_dataset

    dataset = open_dataset(options.dataset)
    dataset.select(options.recordings)
    recordings = [r for r in dataset.recordings if r.name not in options.recordings]
    if not recordings:
        raise BadInputError(f"--recordings names every recording of {options.dataset}; none is left to evaluate on")
    return _judged(spec, recordings, options)


def separation_of(seen: Observations, held_out: Observations) -> Separation:
    """How held-out observations are set apart from those of the calibration.

    Raises:
        BadInputError: a recording, or a part of one, is on both sides.
    """
    if held_out.part_of:
        return Separation("rows", held_out.part_of)
    return separation(seen.content, held_out.content)


def _judged(spec: PolicySpec, recordings: Sequence[Any], options: DataOptions) -> Observations:
    count, seed = options.held_out_samples, options.seed + 1
    return _taken(spec, recordings=recordings, views=options.views, count=count, seed=seed)


def _taken(spec: PolicySpec, recordings: Sequence[Any], views: Sequence[str], count: int, seed: int) -> Observations:
    from vpp_edge.calibration.datasets.content import recording_content
    from vpp_edge.calibration.samples import picked_rows, samples_from_dataset

    viewed = [r.with_views(views) for r in recordings]
    samples = tuple(samples_from_dataset(spec, viewed, count, seed))
    names = [str(r.name) for r in recordings]
    description = f"{counted(len(samples), 'observation')} of {'recording' if len(names) == 1 else 'recordings'} "
    description += ", ".join(names[:8])
    if len(names) > 8:
        description += f" and {len(names) - 8} more"
    return Observations(
        samples=samples,
        description=description,
        data={"recordings": names, "samples": len(samples), "seed": seed},
        content=tuple(recording_content(recording, rows) for recording, rows in picked_rows(recordings, count)),
    )
