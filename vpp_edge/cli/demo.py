"""`vpp-edge demo`: in, nothing; out, the policy of this package pressing buttons live on this machine, and a video."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from vpp_edge.demo.run_video import PictureMaker
    from vpp_edge.runtime.session.report import RunReport
    from vpp_edge.runtime.sim.sequence import Result

HELP = """Press the asked one of four coloured buttons with a simulated hand, in real time.

Needs nothing but the installation. Exports and verifies the policy of this package, then runs it as `vpp-edge run`
would: two cameras through RealSense's software device see a simulated 12-joint hand over the buttons, the policy
process looks and is told which one to press, the control loop moves the hand at 100 Hz. In every episode the buttons
are elsewhere. Leaves a video and an animation.

  vpp-edge demo --episodes 10 --seed 3

Failed episodes are results, no errors: the exit status is 0 when the run worked."""

VIEWS = ("top", "side")
START_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="for bundle, video and animation (demo-output)",
    )
    parser.add_argument("--episodes", type=int, default=5, metavar="N", help="how many to play (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which episodes, those of `eval --seed` (0)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="of the policy (fp32)")
    parser.add_argument("--fresh", action="store_true", help="export again, even where an earlier demo left its bundle")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    if not 1 <= arguments.episodes <= 1000:
        raise BadInputError(f"--episodes {arguments.episodes}: expected 1 to 1000")
    if not 0 <= arguments.seed < 1000:
        raise BadInputError(f"--seed {arguments.seed}: expected 0 to 999")
    from vpp_edge.demo.bundle import DemoOptions, demo_bundle

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr)

    options = DemoOptions(arguments.precision)
    bundle = demo_bundle(arguments.output, options, fresh=arguments.fresh, quiet=arguments.quiet, say=say)
    report, results, picture = _play(bundle, arguments)
    files = [picture.write(arguments.output / "demo.mp4"), picture.write_animation(arguments.output / "demo.webp")]
    _answer(arguments, report, results, bundle, files)
    return report.exit_status


def _play(bundle: Path, arguments: argparse.Namespace) -> tuple[RunReport, list[Result], PictureMaker]:
    """One run through all episodes."""
    from vpp_edge.cli.run import LiveLine
    from vpp_edge.demo.run_video import PictureMaker
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.session.config import SessionConfig
    from vpp_edge.runtime.session.run import run_session
    from vpp_edge.runtime.session.supervisor import RunHooks
    from vpp_edge.runtime.sim.hand import SimHand
    from vpp_edge.runtime.sim.sequence import EpisodeSequence
    from vpp_edge.runtime.sim.task import episode_from_seed
    from vpp_edge.workflow.closed_loop.evaluation import WORLDS_PER_SEED

    first = arguments.seed * WORLDS_PER_SEED
    episodes = [episode_from_seed(first + i) for i in range(arguments.episodes)]
    cameras = tuple(camera_from_text(f"software:sim/{view}") for view in VIEWS)
    picture, live = PictureMaker(), LiveLine(sys.stderr, quiet=arguments.quiet)

    def tell(result: Result) -> None:
        live.clear()
        if not arguments.json:
            print(line_of(result), flush=True)
        elif not arguments.quiet:
            print(line_of(result), file=sys.stderr)

    with closing(SimHand(episode=episodes[0])) as hand:
        course = EpisodeSequence(episodes, hand, tell)
        hooks = RunHooks(
            on_status=live.show,
            on_snapshot=lambda snapshot: picture.add(snapshot, course.caption),
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
    return report, course.results, picture


def line_of(result: Result) -> str:
    """What a person reads of an episode."""
    others = [colour for colour in result.pressed if colour != result.episode.colour]
    pressed = f" ({', '.join(others)})" if others else ""
    return f"{result.episode.instruction:24}  {result.verdict}{pressed} after {result.seconds:.1f} s"


def _answer(
    arguments: argparse.Namespace, report: RunReport, results: list[Result], bundle: Path, files: list[Path]
) -> None:
    success = sum(result.verdict == "success" for result in results)
    if arguments.json:
        facts: dict[str, Any] = {"bundle": str(bundle), "video": str(files[0]), "animation": str(files[1])}
        facts |= {"episodes": [_json_of(result) for result in results], "success": success}
        print(json.dumps({**facts, **report.to_json()}))
        return
    print(f"\n{success} of {arguments.episodes} episodes\n")
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
