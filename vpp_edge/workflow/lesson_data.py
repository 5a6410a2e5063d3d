"""Which recordings a student learns from, and which it is measured on, from one data set or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpp_edge.calibration.datasets import Recording, open_dataset
from vpp_edge.calibration.datasets.content import recording_content
from vpp_edge.calibration.samples import split_recordings
from vpp_edge.errors import BadInputError


def training_and_held_out(datasets: Sequence[Path], views: Sequence[str]) -> tuple[list[Recording], list[Recording]]:
    """The recordings to train on and those to measure on.

    The last quarter of the first data set is held out. The others are trained on whole, so that a student that learns
    from more is measured on the same as one that does not.

    Raises:
        BadInputError: a data set is unusable, or another one holds what is held out of the first.
    """
    first, *others = (open_dataset(path.absolute()).recordings for path in datasets)
    training, judging = split_recordings(first)
    for path, added in zip(datasets[1:], others, strict=True):
        _refuse_shared(path, added, judging)
        training += added
    return [r.with_views(views) for r in training], [r.with_views(views) for r in judging]


def _refuse_shared(path: Path, added: Sequence[Recording], judging: Sequence[Recording]) -> None:
    held_out = [recording_content(recording, ()) for recording in judging]
    for content in (recording_content(recording, ()) for recording in added):
        for judged in held_out:
            if common := judged.keys & content.keys:
                raise BadInputError(
                    f"{path}: recording {content.name} has {100 * len(common) / len(judged.keys):.0f} % of recording "
                    f"{judged.name}, which is held out of the first --data; add only recordings that are not in it"
                )
