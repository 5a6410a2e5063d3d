"""The teacher's outputs for a distillation, computed shard by shard in this process or by an executor, and kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vpp_edge.calibration.datasets import Recording
from vpp_edge.calibration.samples import numbered_samples
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor, Needs, Work
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.teacher import (
    Shard,
    keep_shard,
    shard_files,
    shard_from_samples,
    shard_numbers,
)
from vpp_edge.export.tokenizer import load_tokenizer
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.progress import ProgressCallback
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.workflow.distill_options import DistillOptions

_LIBRARIES_BYTES = 2**30  # PyTorch and the activations of one observation, beside the weights


def _check_recordings(spec: PolicySpec, recordings: Sequence[Recording], count: int, meaning: str) -> None:
    """Raises BadInputError where they have no `count` observations of this policy, before the first is computed."""
    try:
        next(numbered_samples(spec, recordings, count, seed=0, numbers=range(1)))
    except BadInputError as error:
        raise BadInputError(f"{meaning}: {error}") from error


def observations_taken(
    spec: PolicySpec, training: Sequence[Recording], judging: Sequence[Recording], options: DistillOptions
) -> int:
    """How many observations the options take of the recordings to train on and of those to measure on.

    Raises:
        BadInputError: the recordings do not fit the policy.
    """
    counts = rows_taken(training, options.observations), rows_taken(judging, options.held_out)
    _check_recordings(spec, training, counts[0], "the recordings to train on")
    _check_recordings(spec, judging, counts[1], "the recordings to measure on, the last quarter")
    return sum(counts)


@dataclass(frozen=True)
class Lesson:
    """What a teacher sees, and which of its outputs are kept.

    Attributes:
        recordings, count, seed: `count` observations of the recordings, their noise from `seed`.
        stride: as in `shard_from_samples`.
    """

    recordings: tuple[Recording, ...]
    count: int
    seed: int
    stride: int | None


def rows_taken(recordings: Sequence[Recording], wanted: int) -> int:
    """`wanted`, or all rows where there are fewer."""
    return min(wanted, sum(recording.length for recording in recordings))


@dataclass(frozen=True)
class Teaching:
    """The teacher, and where its outputs are computed and kept.

    Attributes:
        choices: which the checkpoint was read with.
        datasets: where the recordings are.
        folder: for the shards.
        executor: computes them; None: this process does.
        stride: as in `shard_from_samples`.
        device: that this process computes them on; workers use a GPU where they see one.
        part: (i, n): of n processes that share the work this is number i, counted from 0.
    """

    checkpoint: Checkpoint
    choices: Choices
    policy: VideoPredictionPolicy
    datasets: tuple[Path, ...]
    folder: Path
    executor: Executor | None
    stride: int | None
    device: torch.device
    part: tuple[int, int]
    report: ProgressCallback

    def observations(self, name: str, recordings: Sequence[Recording], count: int, seed: int) -> Observations:
        """What the teacher makes of `count` observations, or of all of them where there are fewer.

        A shard that is in the folder already is not computed again.

        Args:
            name: of the shards, and of the stage that is reported.

        Raises:
            BadInputError: the data set does not fit the policy.
            VppEdgeError: a worker died or failed.
        """
        count = rows_taken(recordings, count)
        lesson = Lesson(recordings=tuple(recordings), count=count, seed=seed, stride=self.stride)
        files = shard_files(self.folder, name, lesson.count)
        rank, processes = self.part
        missing = [n for n, file in enumerate(files) if n % processes == rank and not file.exists()]
        kept = len(files) - len(missing)
        self.report(name, kept / len(files))
        for number, shard in self._shards(lesson, missing):
            keep_shard(files[number], shard)
            kept += 1
            self.report(name, kept / len(files))
        self.policy.to(torch.device("cpu"))
        return Observations(files=tuple(files), count=lesson.count, seed=seed)

    def _shards(self, lesson: Lesson, numbers: list[int]) -> Iterable[tuple[int, Shard]]:
        if self.executor is None:
            self.policy.to(self.device)
            work = _teacher(self.checkpoint, self.policy, lesson)
            return ((number, work(number)) for number in numbers)
        paths = self.checkpoint.paths.absolute()
        files = (*paths.parts().values(), *(dataset.absolute() for dataset in self.datasets))
        needs = Needs(files=files, memory_bytes=weight_bytes(self.checkpoint) + _LIBRARIES_BYTES)
        return self.executor.results(open_teacher, (paths, self.choices, lesson), numbers, needs)


def open_teacher(paths: CheckpointPaths, choices: Choices, lesson: Lesson) -> Work:
    """A function that computes a shard by number; it reads the checkpoint."""
    checkpoint = read_checkpoint(paths, choices)
    policy = policy_from_checkpoint(checkpoint)
    policy.to(gpu_or_cpu())
    return _teacher(checkpoint, policy, lesson)


def gpu_or_cpu() -> torch.device:
    """The first GPU, if this process sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _teacher(checkpoint: Checkpoint, policy: VideoPredictionPolicy, lesson: Lesson) -> Work:
    spec, tokenizer = checkpoint.spec, load_tokenizer(checkpoint.paths.text_encoder)

    def shard(number: int) -> Shard:
        numbers = shard_numbers(number, lesson.count)
        samples = numbered_samples(spec, lesson.recordings, lesson.count, seed=lesson.seed, numbers=numbers)
        return shard_from_samples(policy, spec, tokenizer, samples, stride=lesson.stride)

    return shard


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Memory of the weights, which a policy uses in place."""
    parts = (part.tensors for part in (checkpoint.unet, checkpoint.vae, checkpoint.text))
    return sum(tensor.nbytes for part in (*parts, checkpoint.former, checkpoint.head) for tensor in part.values())
