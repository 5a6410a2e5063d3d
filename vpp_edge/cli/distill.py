"""`vpp-edge distill`: makes a student of a trained policy that samples its actions in fewer steps."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vpp_edge.cli.calibration_arguments import add_views_argument, names_from_text
from vpp_edge.cli.demo_policy import DEMO
from vpp_edge.cli.executor_arguments import (
    add_executor_arguments,
    add_worker_threads_argument,
    executor_from_arguments,
)
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.files.outputs import check_output_folder, check_temporary_files
from vpp_edge.number_range import COUNT, SEED
from vpp_edge.progress import Progress
from vpp_edge.workflow.distill_options import (
    HEAD_STEPS,
    PROGRESS_STAGES,
    RATE,
    TRAINING_STEPS,
    DistillOptions,
    check_target,
)

HELP = """Make a student of a trained policy: a checkpoint whose action head samples in fewer steps.

The head is trained to end where the teacher's sampler ends from the same noise, under random prefixes of real-time
chunking. Needs recordings of the robot, without actions: the teacher gives them. The last quarter of the recordings is
held out, to measure on.

The student is a checkpoint like any other. A run that was interrupted goes on with --resume.

  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/
  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/ --processes 4 --worker-threads 4
  vpp-edge export my_student/ -o my_bundle/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="the teacher: a checkpoint folder, or demo")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="recordings of the robot")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="STUDENT", help="checkpoint folder to write"
    )
    default = DistillOptions
    add_views_argument(parser)
    numbers = (
        ("--head-steps", HEAD_STEPS, default.head_steps, "sampling steps of the student's action head"),
        ("--observations", COUNT, default.observations, "observations to train on"),
        ("--held-out-samples", COUNT, default.held_out, "observations to measure on"),
        ("--steps", TRAINING_STEPS, default.steps, "training steps"),
        ("--batch", COUNT, default.batch, "observations in a training step"),
        ("--rate", RATE, default.rate, "learning rate"),
        ("--seed", SEED, default.seed, "seed of noise, prefixes and batches"),
    )
    for option, within, value, meaning in numbers:
        parser.add_argument(option, type=Number(within), default=value, metavar="N", help=f"{meaning} ({value:g})")
    add_executor_arguments(parser, "for the teacher's part: this one")
    add_worker_threads_argument(parser)
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.demo.bundle import SHIPPED
    from vpp_edge.workflow.distilling import distill, measure_lines

    options = DistillOptions(
        dataset=arguments.data,
        views=names_from_text(arguments.views),
        head_steps=arguments.head_steps,
        observations=arguments.observations,
        held_out=arguments.held_out_samples,
        steps=arguments.steps,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
        resume=arguments.resume,
    )
    executor = executor_from_arguments(arguments)
    check_target(arguments.output, options.resume)
    check_output_folder(arguments.output, "-o")
    check_temporary_files()
    paths = paths_from_folder(SHIPPED if str(arguments.checkpoint) == DEMO else arguments.checkpoint)
    with Progress("distill", PROGRESS_STAGES, quiet=arguments.quiet) as progress:
        card = distill(paths, arguments.output, options, report=progress, executor=executor)
    if arguments.json:
        print(json.dumps({"student": str(arguments.output), **card.to_json()}))
        return 0
    levels = ", ".join(f"{sigma:g}" for sigma in card.sigmas)
    print(f"{arguments.output}: a student whose head samples in {card.head_steps} steps (noise levels {levels})")
    print(f"measured on {card.held_out}, trained on {card.data}")
    print("\n".join(measure_lines(card.measures)))
    return 0
