"""`vpp-edge distill`: makes a student of a trained policy that needs less work for an action."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vpp_edge.cli.calibration_arguments import add_views_argument, names_from_text
from vpp_edge.cli.certificate_text import segment_line
from vpp_edge.cli.checkpoint_arguments import add_checkpoint_arguments, choices_from_arguments
from vpp_edge.cli.demo_policy import DEMO
from vpp_edge.cli.executor_arguments import (
    add_executor_arguments,
    add_worker_threads_argument,
    executor_from_arguments,
)
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.training_options import (
    LOGS,
    OPTIMIZERS,
    PATIENCE,
    PRECISIONS,
    RATE,
    TRAINING_STEPS,
    TrainingOptions,
)
from vpp_edge.files.outputs import check_output_folder, check_temporary_files
from vpp_edge.number_range import COUNT, SEED
from vpp_edge.progress import Progress
from vpp_edge.workflow.distill_options import (
    DISK_LIMIT_GIB,
    HEAD_STEPS,
    DistillOptions,
    progress_stages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vpp_edge.checkpoint.paths import CheckpointPaths
    from vpp_edge.workflow.distilling import StudentCard

HELP = """Make a student of a trained policy: a checkpoint in the same format that needs less work for an action.

Its action head samples in fewer steps; with --student its video model is smaller.

Needs recordings of the robot, without actions: the teacher gives them. The last quarter of the first --data is held
out, to measure on. The student is a checkpoint like any other. A run that was interrupted goes on with --resume.

  vpp-edge distill my_checkpoint/ --data my_recordings/ --student orin-agx -o my_student/
  vpp-edge distill my_checkpoint/ --data my_recordings/ --data student_runs/ --student orin-agx -o my_student/
  vpp-edge distill my_checkpoint/ --student orin-nx --plan                         (what it would cost)
  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/             (only the action head)
  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/ --processes 4 --worker-threads 4
  accelerate launch -m vpp_edge.export.distill my_checkpoint/ --data ...           (on all GPUs)
  vpp-edge export my_student/ -o my_bundle/"""

_OF_THE_VIDEO_MODEL = (
    "steps", "batch", "rate", "accumulate", "mixed_precision", "optimizer", "patience",
    "gradient_checkpointing", "sparse",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="the teacher: a checkpoint folder, or demo")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DATASET",
        help="recordings of the robot; give it again for more to train on, such as recordings of a student's runs",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="STUDENT", help="checkpoint folder to write")
    add_views_argument(parser)
    parser.add_argument(
        "--student",
        metavar="SPEC",
        help="sizes of a smaller video model: orin-agx, orin-nx, orin-nano, demo, or a YAML file",
    )
    default, training = DistillOptions, TrainingOptions
    numbers = (
        ("--head-steps", HEAD_STEPS, default.head_steps, "sampling steps of the student's action head"),
        ("--observations", COUNT, default.observations, "observations to train on"),
        ("--held-out-samples", COUNT, default.held_out, "observations to measure on"),
        ("--head-training-steps", TRAINING_STEPS, training.head_steps, "training steps of the action head"),
        ("--seed", SEED, default.seed, "seed of noise, prefixes and batches"),
    )
    for option, within, value, meaning in numbers:
        parser.add_argument(option, type=Number(within), default=value, metavar="N", help=f"{meaning} ({value:g})")
    parser.add_argument(
        "--plan", action="store_true", help="only say what the student of --student would cost, predicted for devices"
    )
    parser.add_argument(
        "--disk-limit",
        type=Number(DISK_LIMIT_GIB),
        default=default.disk_limit_gib,
        metavar="GIB",
        help=f"most that the teacher's outputs may take ({default.disk_limit_gib:g})",
    )
    parser.add_argument("--log-with", choices=LOGS, help="keep the losses in <STUDENT>.distilling-logs")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    add_executor_arguments(parser, "for the teacher's part: this one")
    add_worker_threads_argument(parser)
    _add_video_arguments(parser)
    add_checkpoint_arguments(
        parser.add_argument_group(
            "reading of the teacher", "as for `vpp-edge export`, which needs the same for the student"
        )
    )


def _add_video_arguments(parser: argparse.ArgumentParser) -> None:
    training, group = TrainingOptions, parser.add_argument_group("training of the video model (with --student)")
    numbers = (
        ("--steps", TRAINING_STEPS, training.steps, "optimizer steps"),
        ("--batch", COUNT, training.batch, "observations in a step, over all processes"),
        ("--rate", RATE, training.rate, "learning rate"),
        ("--accumulate", COUNT, training.accumulate, "parts in which a process computes its share of a batch"),
        ("--patience", PATIENCE, training.patience, "judgements without a better one until it ends early, 0: never"),
    )
    for option, within, value, meaning in numbers:
        group.add_argument(option, type=Number(within), metavar="N", help=f"{meaning} ({value:g})")
    words = (
        ("--mixed-precision", PRECISIONS, training.mixed_precision, "precision of products"),
        ("--optimizer", OPTIMIZERS, training.optimizer, "adamw8bit keeps its state in 8 bits (bitsandbytes)"),
    )
    for option, known, usual, meaning in words:
        group.add_argument(option, choices=known, help=f"{meaning} ({usual})")
    flags = (
        ("--gradient-checkpointing", "compute activations again for the gradient, to save memory"),
        ("--sparse", "make its weights 2:4 sparse"),
    )
    for option, meaning in flags:
        group.add_argument(option, action="store_const", const=True, help=meaning)


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.demo.bundle import SHIPPED
    from vpp_edge.export.distill.accelerating import process_rank
    from vpp_edge.workflow.distilling import Reports, distill

    paths = paths_from_folder(SHIPPED if str(arguments.checkpoint) == DEMO else arguments.checkpoint)
    if arguments.plan:
        return _plan(paths, arguments)
    for option, value in (("--data", arguments.data), ("-o", arguments.output)):
        if value is None:
            raise BadInputError(f"{option} is missing: distill needs recordings and a folder for the student")
    options, first = _options(arguments), process_rank() == 0
    executor = executor_from_arguments(arguments)
    if first:
        check_output_folder(arguments.output, "-o")
    check_temporary_files()
    with Progress("distill", progress_stages(options), quiet=arguments.quiet or not first) as progress:
        reports = Reports(progress=progress, note=progress.note)
        card = distill(paths, arguments.output, options, reports, executor=executor)
    if card is None:
        return 0
    if arguments.json:
        print(json.dumps({"student_folder": str(arguments.output), **card.to_json()}))
        return 0
    print("\n".join(_lines(arguments.output, card)))
    return 0


def _plan(paths: CheckpointPaths, arguments: argparse.Namespace) -> int:
    """Prints what the student would cost."""
    from vpp_edge.checkpoint.reader import read_checkpoint
    from vpp_edge.export.distill.student_spec import student_spec
    from vpp_edge.workflow.student_plan import PROGRESS_STAGES, plan_of_student

    if arguments.student is None:
        raise BadInputError("--plan says what a student costs; choose one with --student")
    spec = student_spec(arguments.student)
    with Progress("plan", PROGRESS_STAGES, quiet=arguments.quiet) as progress:
        plan = plan_of_student(
            read_checkpoint(paths, choices_from_arguments(arguments)),
            spec,
            head_steps=arguments.head_steps,
            report=progress,
        )
    print(json.dumps(plan.to_json()) if arguments.json else "\n".join(plan.lines()))
    return 0


def _options(arguments: argparse.Namespace) -> DistillOptions:
    """Raises BadInputError where an option of the video model's training is given without a student of it."""
    given = {name: value for name in _OF_THE_VIDEO_MODEL if (value := getattr(arguments, name)) is not None}
    if given and arguments.student is None:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise BadInputError(f"{option} is for the training of the video model; choose its student with --student")
    return DistillOptions(
        datasets=tuple(arguments.data),
        choices=choices_from_arguments(arguments),
        views=names_from_text(arguments.views),
        student=arguments.student,
        head_steps=arguments.head_steps,
        observations=arguments.observations,
        held_out=arguments.held_out_samples,
        disk_limit_gib=arguments.disk_limit,
        training=TrainingOptions(head_steps=arguments.head_training_steps, log_with=arguments.log_with, **given),
        seed=arguments.seed,
        resume=arguments.resume,
    )


def _lines(folder: Path, card: StudentCard) -> Iterator[str]:
    """The card for people."""
    from vpp_edge.export.distill.measures import DRAWS

    levels, m = ", ".join(f"{sigma:g}" for sigma in card.sigmas), card.measures
    yield f"{folder}: a student whose head samples in {card.head_steps} steps (noise levels {levels})"
    yield f"measured on {card.held_out}, trained on {card.data}"
    if card.token_error is not None:
        yield f"  tokens               RMS error {card.token_error:.2f} of that of their mean"
    yield f"  actions, same noise  RMS {m.action_rms:.4f}; {m.action_rms_prefixed:.4f} under prefixes"
    yield f"  spread over noise    {m.student_spread:.4f}, the teacher's {m.teacher_spread:.4f}"
    yield f"  nearest chunk        that of the same noise, of {DRAWS}, in {100 * m.same_mode:.1f} %"
    yield f"  follows a prefix     {m.student_following:.2f}, the teacher {m.teacher_following:.2f}"
    yield f"  seam to a prefix     {m.student_seam:.4f}, the teacher's {m.teacher_seam:.4f}"
    yield "chunks of the student from the teacher's, same noise:"
    yield from map(segment_line, card.physical.student)
    yield "two chunks of the teacher from one another, different noise:"
    yield from map(segment_line, card.physical.noise)
