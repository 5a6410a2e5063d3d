"""`vpp-edge demo`: runs the policy of this package live in simulation, where it presses buttons, and writes a video."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.cli.demo_policy import add_output_argument, exported_demo
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import whole
from vpp_edge.wording import counted
from vpp_edge.workflow.closed_loop.bounds import EVALUATION_SEED, WORLDS_PER_SEED

if TYPE_CHECKING:
    from vpp_edge.demo.run_video import RunVideo
    from vpp_edge.runtime.session.report import RunReport
    from vpp_edge.runtime.sim.sequence import Result

HELP = """Press the requested one of four coloured buttons with a simulated hand, in real time.

Needs nothing but the installation. Exports and verifies the policy of this package, then runs it as `vpp-edge run`
would: two cameras on RealSense's software device see a simulated 12-joint hand above the buttons, the policy gets their
images and the instruction, and the control loop moves the hand at 100 Hz. The buttons are placed differently in every
episode. Writes a video and an animation.

  vpp-edge demo --episodes 10 --seed 3

A failed episode is a result, not an error: the exit status is 0 if the run itself worked."""

START_S = 120.0
EPISODES = whole(1, 1000)  # they are played in real time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_output_argument(parser, "folder for bundle, video and animation")
    parser.add_argument("--episodes", type=Number(EPISODES), default=5, metavar="N", help="number of episodes (5)")
    parser.add_argument(
        "--seed",
        type=Number(EVALUATION_SEED),
        default=0,
        metavar="S",
        help="selects the episodes, as `eval --seed` does (0)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="precision of the policy (fp32)")
    parser.add_argument("--fresh", action="store_true", help="export again, even if an earlier demo left a bundle")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    bundle = exported_demo(arguments, fresh=arguments.fresh, precision=arguments.precision)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)  # an export has made it, the bundle of this package has not
    except OSError as error:
        raise BadInputError(
            f"{arguments.output}: no folder for the video ({error.strerror}); pass another -o"
        ) from error
    report, results, video = _play(bundle, arguments)
    files = [video.write(arguments.output / "demo.mp4"), video.write_animation(arguments.output / "demo.webp")]
    _print_results(arguments, report, results, bundle=bundle, files=files)
    return report.exit_status


def _play(bundle: Path, arguments: argparse.Namespace) -> tuple[RunReport, list[Result], RunVideo]:
    """One run through all episodes."""
    from vpp_edge.cli.run import LiveLine
    from vpp_edge.demo.run_video import RunVideo
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.session.config import SessionConfig
    from vpp_edge.runtime.session.hooks import RunHooks
    from vpp_edge.runtime.session.run import run_session
    from vpp_edge.runtime.sim.hand import SimHand
    from vpp_edge.runtime.sim.sequence import EpisodeSequence
    from vpp_edge.runtime.sim.task import episode_from_seed
    from vpp_edge.runtime.sim.view_names import POLICY_VIEWS

    first = arguments.seed * WORLDS_PER_SEED
    episodes = [episode_from_seed(first + i) for i in range(arguments.episodes)]
    cameras = tuple(camera_from_text(f"software:sim/{view}") for view in POLICY_VIEWS)
    video, live = RunVideo(), LiveLine(sys.stderr, quiet=arguments.quiet)

    def show(result: Result) -> None:
        live.clear()
        if not arguments.json:
            print(line_of(result), flush=True)
        elif not arguments.quiet:
            print(line_of(result), file=sys.stderr)

    with closing(SimHand(episode=episodes[0])) as hand:
        course = EpisodeSequence(episodes, hand, show)
        hooks = RunHooks(
            on_status=live.show,
            on_snapshot=lambda snapshot: video.add(snapshot, course.caption),
            on_poll=course.advance,
        )
        config = SessionConfig(
            bundle=str(bundle),
            cameras=cameras,
            hand=hand,
            instruction=episodes[0].instruction,
            seed=arguments.seed,
            start_s=START_S,
        )
        try:
            report = run_session(config, hooks)
        finally:
            live.end()
    return report, course.results, video


def line_of(result: Result) -> str:
    """The result of one episode as a line of text."""
    others = [colour for colour in result.pressed if colour != result.episode.colour]
    pressed = f" ({', '.join(others)})" if others else ""
    return f"{result.episode.instruction:24}  {result.verdict}{pressed} after {result.seconds:.1f} s"


def _print_results(
    arguments: argparse.Namespace, report: RunReport, results: list[Result], bundle: Path, files: list[Path]
) -> None:
    success = sum(result.verdict == "success" for result in results)
    if arguments.json:
        facts: dict[str, Any] = {"bundle": str(bundle), "video": str(files[0]), "animation": str(files[1])}
        facts |= {"episodes": [_json_of(result) for result in results], "success": success}
        print(json.dumps({**facts, **report.to_json()}))
        return
    print(f"\n{success} of {counted(arguments.episodes, 'episode')}\n")
    print("\n".join(report.lines()))
    print(f"\nbundle    {bundle}   (vpp-edge inspect {bundle}; vpp-edge eval {bundle})")
    print(f"video     {', '.join(map(str, files))}")


def _json_of(result: Result) -> dict[str, Any]:
    episode = result.episode
    return {
        "seed": episode.seed,
        "instruction": episode.instruction,
        "verdict": result.verdict,
        "pressed": list(result.pressed),
        "seconds": result.seconds,
    }
