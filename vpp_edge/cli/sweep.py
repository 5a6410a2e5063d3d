"""`vpp-edge sweep`: makes many students of a policy, and measures their latency, error and success, to choose one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.cli.calibration_arguments import add_views_argument
from vpp_edge.cli.checkpoint_arguments import add_checkpoint_arguments
from vpp_edge.cli.distill_arguments import add_amounts, add_data_argument, add_video_arguments, distill_options
from vpp_edge.cli.executor_arguments import (
    add_executor_arguments,
    add_worker_gpus_argument,
    add_worker_threads_argument,
    executor_from_arguments,
)
from vpp_edge.cli.numbers import Number, Numbers
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.demo.policies import POLICIES, checkpoint_folder
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.student_spec import FRAMES, LAYERS, TAP, WIDTH
from vpp_edge.files.outputs import check_output_folder, check_temporary_files
from vpp_edge.number_range import COUNT_OR_NONE
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.act_schedule import ACTS_PER_LOOK
from vpp_edge.runtime.policy.handover_modes import MODES
from vpp_edge.runtime.sim.worlds.kinds import NAMES
from vpp_edge.workflow.closed_loop.bounds import DELAY_MS, EPISODES
from vpp_edge.workflow.distill_options import HEAD_STEPS
from vpp_edge.workflow.sweep.options import Axes, Playing, SweepOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vpp_edge.checkpoint.reader import Checkpoint
    from vpp_edge.export.distill.student_spec import StudentSpec
    from vpp_edge.workflow.sweep.points import Point

HELP = """Make many students of a trained policy and measure them, to choose one for a robot.

Every combination of the values that are given is a student, made as `vpp-edge distill` makes one, and exported at
every precision. Its predicted latency on devices, its latency here, the error of its actions against the teacher's, and
with --world its success in simulation are printed, and written as a page with a picture.

--frames 1 shows what prediction contributes: such a student is an image encoder without time.

  vpp-edge sweep my_checkpoint/ --frames 4,8 --width 0.5,1 --layers 1,2 --plan            (costs only, in minutes)
  vpp-edge sweep my_checkpoint/ --data my_recordings/ --frames 4,8 --width 0.5,1 -o my_sweep/
  vpp-edge sweep demo --data my_recordings/ --student demo --head-steps 2,4 --world buttons -o my_sweep/
  vpp-edge sweep my_checkpoint/ --data ... -o my_sweep/ --tap 0,1 --resume               (goes on, or adds students)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help=f"the teacher: a checkpoint folder, or {' or '.join(POLICIES)}"
    )
    add_data_argument(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="folder for students, bundles and results")
    add_views_argument(parser)
    _add_axes(parser)
    devices = tuple(DEVICES)
    parser.add_argument(
        "--device", choices=devices, default=devices[0], help=f"compare by the latency predicted for it ({devices[0]})"
    )
    parser.add_argument(
        "--inferences",
        type=Number(COUNT_OR_NONE),
        default=SweepOptions.inferences,
        metavar="N",
        help=f"timed here of each bundle, in turns with the teacher's ({SweepOptions.inferences}); 0: none",
    )
    parser.add_argument("--plan", action="store_true", help="only say what the students would cost, predicted")
    parser.add_argument("--resume", action="store_true", help="go on with a sweep, or add students to it")
    _add_playing(parser)
    add_amounts(parser)
    add_executor_arguments(parser, "this one; for episodes one per core")
    add_worker_threads_argument(parser)
    add_worker_gpus_argument(parser)
    add_video_arguments(parser, "training of every video model")
    add_checkpoint_arguments(parser.add_argument_group("reading of the teacher", "as for `vpp-edge export`"))


def _add_axes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("students: values to combine, as in 2,4 (what is left out stays the teacher's)")
    group.add_argument("--student", metavar="SPEC", help="base of all: a specification as for `distill`")
    axes = (
        ("--frames", FRAMES, "frames", "frames of the video model"),
        ("--layers", LAYERS, "layers_per_block", "residual blocks at each size of the UNet"),
        ("--width", WIDTH, "width", "widths of the UNet, as a share of the teacher's"),
        ("--tap", TAP, "extract_layer_idx", "up block that the Video Former reads"),
    )
    for option, within, name, meaning in axes:
        group.add_argument(option, type=Numbers(within), default=(), dest=name, metavar="N,...", help=meaning)
    group.add_argument(
        "--head-steps",
        type=Numbers(HEAD_STEPS),
        default=Axes.head_steps,
        metavar="N,...",
        help="sampling steps of the action head (2)",
    )
    group.add_argument(
        "--precision",
        type=_precisions,
        default=Axes.precision,
        metavar="P,...",
        help=f"of the bundles: {', '.join(PRECISIONS)} ({Axes.precision[0]})",
    )
    group.add_argument(
        "--acts-per-look",
        type=Numbers(ACTS_PER_LOOK),
        default=Axes.acts_per_look,
        metavar="N,...",
        help="chunks from the images of one observation, with --world (1)",
    )


def _add_playing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("closed loop")
    group.add_argument("--world", choices=NAMES, help="play episodes of this simulated world with every bundle")
    group.add_argument("--episodes", type=Number(EPISODES), metavar="N", help=f"of each ({Playing.episodes})")
    group.add_argument("--chunking", choices=MODES, help=f"how one chunk follows another ({Playing.chunking})")
    group.add_argument(
        "--delay-ms",
        type=Number(DELAY_MS),
        metavar="D",
        help="simulated time from an observation to its chunk (what is predicted for --device)",
    )


def _precisions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PRECISIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {', '.join(PRECISIONS)}")
    return names


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.checkpoint.reader import read_checkpoint
    from vpp_edge.workflow.distilling import Reports
    from vpp_edge.workflow.sweep.page import DATA, PAGE, write_results
    from vpp_edge.workflow.sweep.sweeping import planned_students, progress_stages, sweep

    paths = paths_from_folder(checkpoint_folder(arguments.checkpoint))
    options = _options(arguments)
    teacher = read_checkpoint(paths, options.distill.choices)
    students = planned_students(teacher, options)
    if arguments.plan:
        return _plan(teacher, students, options, arguments)
    for option, value in (("--data", arguments.data), ("-o", arguments.output)):
        if not value:
            raise BadInputError(f"{option} is missing: sweep needs recordings and a folder for the results")
    executor, folder = executor_from_arguments(arguments), arguments.output
    if not options.resume:
        check_output_folder(folder, "-o")
    check_temporary_files()
    with Progress("sweep", progress_stages(options, len(students)), quiet=arguments.quiet) as progress:
        reports = Reports(progress=progress, note=progress.note)
        points = sweep(teacher, students, folder, options, executor=executor, reports=reports)
    facts = {
        "teacher": str(arguments.checkpoint),
        "recordings": ", ".join(map(str, arguments.data)),
        **_playing_words(options),
    }
    write_results(folder, points, options.device, facts)
    if arguments.json:
        print((folder / DATA).read_text(encoding="utf-8"))
        return 0
    print("\n".join(_lines(points, options.device)))
    print(f"a page with the picture: {folder / PAGE}")
    return 0


def _options(arguments: argparse.Namespace) -> SweepOptions:
    axes = Axes(**{name: getattr(arguments, name) for name in vars(Axes())})
    given = {name: getattr(arguments, name) for name in ("episodes", "chunking", "delay_ms")}
    given = {name: value for name, value in given.items() if value is not None}
    if given and arguments.world is None:
        raise BadInputError(f"--{next(iter(given)).replace('_', '-')} is for episodes; choose a world with --world")
    return SweepOptions(
        axes=axes,
        distill=distill_options(arguments),
        device=arguments.device,
        playing=None if arguments.world is None else Playing(world=arguments.world, **given),
        inferences=arguments.inferences,
        resume=arguments.resume,
    )


def _plan(
    teacher: Checkpoint, students: Sequence[StudentSpec], options: SweepOptions, arguments: argparse.Namespace
) -> int:
    """Prints what the students would cost."""
    from vpp_edge.workflow.student_plan import PRECISIONS as PLANNED
    from vpp_edge.workflow.student_plan import cost_of_policy, plan_of_student
    from vpp_edge.workflow.sweep.options import student_name

    device = options.device
    with Progress("plan", [("count", 30.0 + 15.0 * len(students))], quiet=arguments.quiet) as progress:
        progress("count", 0)
        base, plans = cost_of_policy(teacher), {}
        for done, spec in enumerate(students):
            for steps in options.axes.head_steps:
                plan = plan_of_student(teacher, spec, head_steps=steps, teacher_cost=base)
                plans[student_name(spec, steps)] = plan
            progress("count", (done + 1) / len(students))
    if arguments.json:
        print(json.dumps({name: plan.to_json() for name, plan in plans.items()}))
        return 0
    costs = {"teacher": base, **{name: plan.student for name, plan in plans.items()}}
    heads = ["GOP", "share", *(f"{device} {precision}" for precision in PLANNED)]
    rows = [
        [f"{cost.total / 1e9:.3g}", f"{cost.total / base.total:.1%}"]
        + [f"{cost.predicted_ms[device][precision]:.2f}" for precision in PLANNED]
        for cost in costs.values()
    ]
    print("\n".join(_aligned(["one inference", *heads], [[name, *row] for name, row in zip(costs, rows, strict=True)])))
    print("ms of devices are predicted, not measured")
    return 0


def _playing_words(options: SweepOptions) -> dict[str, str]:
    playing = options.playing
    if playing is None:
        return {}
    delay = f"delays predicted for {options.device}" if playing.delay_ms is None else f"{playing.delay_ms:g} ms late"
    return {"closed loop": f"{playing.episodes} episodes of {playing.world}, {playing.chunking} chunks, {delay}"}


def _lines(points: Sequence[Point], device: str) -> Iterator[str]:
    """The table for people; * marks the front."""
    from vpp_edge.workflow.sweep.points import spread_words, table_of

    rows = list(table_of(points, device))
    heads = ["policy", *rows[0][2]]
    yield from _aligned(
        heads, [[("* " if best else "  ") + point.label, *cells.values()] for point, best, cells in rows]
    )
    yield f"predicted ms: of a chunk on {device}, not measured; here: measured, speedup over the teacher in turns"
    yield "errors: RMS against the teacher, of normalized actions, and of tokens in units of the error of their mean"
    if spread := spread_words(points):
        yield f"the teacher's own actions spread by {spread} over noise"
    yield "*: nothing else is both faster, as predicted, and nearer to the teacher"
    for point in points:
        yield from (f"run refuses {point.name}: {problem}" for problem in point.problems)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table whose heads go over two lines where they are longer than their column."""
    from textwrap import wrap

    widths = [max(map(len, [*head.split(), *(row[i] for row in rows)])) for i, head in enumerate(heads)]
    wrapped = [wrap(head, width) or [""] for head, width in zip(heads, widths, strict=True)]
    height = max(map(len, wrapped))
    padded = [[""] * (height - len(words)) + words for words in wrapped]
    for line in [*zip(*padded, strict=True), *rows]:
        first, *others = line
        yield f"{first:<{widths[0]}}  " + "  ".join(
            f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)
        )
