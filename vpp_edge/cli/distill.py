"""`vpp-edge distill`: makes a student of a trained policy that needs less work for an action."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vpp_edge.bundle.manifest import export_command, is_bundle
from vpp_edge.cli.calibration_arguments import add_views_argument
from vpp_edge.cli.checkpoint_arguments import add_checkpoint_arguments, choices_from_arguments
from vpp_edge.cli.distill_arguments import (
    add_amounts,
    add_data_argument,
    add_video_arguments,
    distill_options,
    given_of_video,
)
from vpp_edge.cli.executor_arguments import (
    add_executor_arguments,
    add_worker_gpus_argument,
    add_worker_threads_argument,
    executor_from_arguments,
)
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.student_text import student_lines
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.demo.policies import POLICIES, checkpoint_folder
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.training_options import LOGS
from vpp_edge.files.outputs import check_output_folder, check_temporary_files
from vpp_edge.progress import Progress
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, NAMES
from vpp_edge.workflow.closed_loop.bounds import EPISODES
from vpp_edge.workflow.distill_options import (
    HEAD_STEPS,
    DistillOptions,
    progress_stages,
)

if TYPE_CHECKING:
    from vpp_edge.checkpoint.paths import CheckpointPaths

HELP = """Make a student of a trained policy: a checkpoint in the same format that needs less work for an action.

Its action head samples in fewer steps; with --student its video model is smaller.

Needs recordings of the robot, without actions: the teacher gives them. The last quarter of the first --data is held
out, to measure on: what the student kept of its teacher is printed at the end and stays in the student (`vpp-edge
inspect`). The student is a checkpoint like any other. A run that was interrupted goes on with --resume.

  vpp-edge distill my_checkpoint/ --data my_recordings/ --student orin-agx -o my_student/
  vpp-edge distill my_checkpoint/ --data my_recordings/ --data student_runs/ --student orin-agx -o my_student/
  vpp-edge distill my_checkpoint/ --student orin-nx --plan                         (what it would cost)
  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/             (only the action head)
  vpp-edge distill my_checkpoint/ --data my_recordings/ -o my_student/ --processes 4 --worker-threads 4
  vpp-edge distill demo --data recordings/ --student demo -o student/ --closed-loop 200 --world buttons either
  accelerate launch -m vpp_edge.export.distill my_checkpoint/ --data ...           (on all GPUs)
  vpp-edge export my_student/ -o my_bundle/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    words = " or ".join(("a checkpoint folder", *POLICIES))
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help=f"the teacher: {words}")
    add_data_argument(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="STUDENT", help="checkpoint folder to write")
    add_views_argument(parser)
    parser.add_argument(
        "--student",
        metavar="SPEC",
        help="sizes of a smaller video model: orin-agx, orin-nx, orin-nano, demo, or a YAML file (the teacher's: only "
        "the action head is trained)",
    )
    parser.add_argument(
        "--head-steps",
        type=Number(HEAD_STEPS),
        default=DistillOptions.head_steps,
        metavar="N",
        help=f"sampling steps of the student's action head ({DistillOptions.head_steps})",
    )
    add_amounts(parser)
    parser.add_argument(
        "--plan", action="store_true", help="only say what the student of --student would cost, predicted for devices"
    )
    parser.add_argument(
        "--closed-loop",
        type=Number(EPISODES),
        metavar="N",
        help="at the end, play N episodes of the simulated task with student and teacher, for its card",
    )
    parser.add_argument(
        "--world", nargs="+", choices=NAMES, help=f"what these episodes ask, N in each world ({BUTTONS.name})"
    )
    parser.add_argument("--log-with", choices=LOGS, help="keep the losses in <STUDENT>.distilling-logs")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was interrupted, under the same options"
    )
    add_executor_arguments(parser, "for the teacher's part: this one")
    add_worker_threads_argument(parser)
    add_worker_gpus_argument(parser)
    add_video_arguments(parser, "training of the video model (with --student)")
    add_checkpoint_arguments(
        parser.add_argument_group(
            "reading of the teacher", "as for `vpp-edge export`, which needs the same for the student"
        )
    )


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.export.distill.accelerating import process_rank
    from vpp_edge.workflow.distilling import Reports, distill

    if is_bundle(arguments.checkpoint):
        raise BadInputError(
            f"{arguments.checkpoint} is a bundle; distill reads the checkpoint that it was exported from"
        )
    paths = paths_from_folder(checkpoint_folder(arguments.checkpoint))
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
    print(f"{arguments.output}: the student, a checkpoint like any other")
    print("\n".join(student_lines(card.to_json())))
    print(f"\nWhat a robot runs is a bundle: {export_command(arguments.output)}")
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
    given = given_of_video(arguments)
    if given and arguments.student is None:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise BadInputError(f"{option} is for the training of the video model; choose its student with --student")
    if arguments.world and arguments.closed_loop is None:
        raise BadInputError("--world is for the episodes of --closed-loop; say how many of them, or leave it out")
    return replace(
        distill_options(arguments, log_with=arguments.log_with),
        head_steps=arguments.head_steps,
        resume=arguments.resume,
        closed_loop=arguments.closed_loop,
        worlds=tuple(dict.fromkeys(arguments.world or DistillOptions.worlds)),
    )
