"""`vpp-edge demo`: in, nothing; out, the whole path run once on this machine, and a video of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.progress import Progress

if TYPE_CHECKING:
    from vpp_edge.checkpoint.untrained import Limits
    from vpp_edge.runtime.report import RunReport

HELP = """Export a small untrained policy and run it in simulation.

Needs nothing but the installation. Makes a policy in the trained format with random weights (so the hand moves
without purpose), exports and verifies it, then runs it: two cameras through RealSense's software device see a
simulated 12-joint hand, the policy process looks at them, the control loop moves the hand. Leaves a video."""

INSTRUCTION = "pick up the red block"
VIEWS = ("top", "side")
WRIST_STEP_M, WRIST_STEP_RAD = 0.0015, 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="for bundle and video (demo-output)",
    )
    parser.add_argument("--duration", type=float, default=20.0, metavar="S", help="seconds in simulation (20)")
    parser.add_argument("--fresh", action="store_true", help="export again, even where an earlier demo left its bundle")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    if not arguments.duration > 0:
        raise BadInputError(f"--duration {arguments.duration}: expected a positive number of seconds")
    say = (lambda text: None) if arguments.quiet else (lambda text: print(text, file=sys.stderr))
    say("The demo policy is untrained: the networks of VPP at a small size with random weights. The hand will move")
    say("without purpose; what is real is the path from checkpoint to hand.")
    bundle = demo_bundle(arguments.output, fresh=arguments.fresh, quiet=arguments.quiet, say=say)
    report, picture = _run(bundle, arguments, say)
    if arguments.json:
        print(json.dumps({"bundle": str(bundle), "video": str(picture), "trained": False, **report.to_json()}))
        return report.exit_status
    print("\n".join(report.lines()))
    print(f"\nbundle    {bundle}   (vpp-edge inspect {bundle})")
    print(f"video     {picture}   (the two camera views; untrained policy)")
    return report.exit_status


def demo_bundle(folder: Path, *, fresh: bool, quiet: bool, say: Any = print) -> Path:
    """The bundle of the demo policy in `folder`: the one of an earlier demo by the same versions, or a new one."""
    bundle = folder / "bundle"
    if not fresh and _is_usable(bundle):
        say(f"Using the bundle of an earlier demo, {bundle} (--fresh exports it again).")
        return bundle
    from vpp_edge.checkpoint.files import paths_from_folder
    from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
    from vpp_edge.export.exporter import PROGRESS_STAGES, ExportOptions, export_bundle

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint"
    with Progress("demo policy", [("make", 8.0), *PROGRESS_STAGES], quiet=quiet) as progress:
        progress.step("make")
        staging = Path(tempfile.mkdtemp(prefix=".checkpoint.partial-", dir=folder))
        try:
            state_bounds, action_bounds = demo_bounds()
            write_untrained_checkpoint(staging, state_bounds=state_bounds, action_bounds=action_bounds)
            shutil.rmtree(checkpoint, ignore_errors=True)
            staging.rename(checkpoint)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        export_bundle(paths_from_folder(checkpoint), bundle, ExportOptions(overwrite=bundle.exists()), report=progress)
    return bundle


def demo_bounds() -> tuple[Limits, Limits]:
    """Normalization bounds of state (19) and actions (18) that suit the simulated hand.

    An untrained policy gives normalized actions of about -2 to 2. So the fingers get the middle half of their ranges,
    and the wrist offsets (m, rad) so small that a hand without purpose stays in view.
    """
    from vpp_edge.runtime.hands.sim import LIMITS

    lower, upper = LIMITS.joint_lower_rad, LIMITS.joint_upper_rad
    state = ((*LIMITS.wrist_lower_m, *[-1.0] * 4, *lower), (*LIMITS.wrist_upper_m, *[1.0] * 4, *upper))
    middle = [(low + high) / 2 for low, high in zip(lower, upper, strict=True)]
    quarter = [(high - low) / 4 for low, high in zip(lower, upper, strict=True)]
    wrist = [WRIST_STEP_M] * 3 + [WRIST_STEP_RAD] * 3
    action = (
        [*(-step for step in wrist), *(m - q for m, q in zip(middle, quarter, strict=True))],
        [*wrist, *(m + q for m, q in zip(middle, quarter, strict=True))],
    )
    return state, action


def _is_usable(path: Path) -> bool:
    """Whether `path` is an undamaged bundle that these library versions exported."""
    from vpp_edge.manifest import Bundle

    try:
        bundle = Bundle(path)
        bundle.verify_all()
    except BundleError:
        return False
    exported_with = bundle.manifest.provenance.get("versions", {})
    return bool(exported_with) and all(version(name) == v for name, v in exported_with.items() if v)


def _run(bundle: Path, arguments: argparse.Namespace, say: Any) -> tuple[RunReport, Path]:
    from vpp_edge.cli.run import LiveLine
    from vpp_edge.profile.picture import PictureMaker
    from vpp_edge.runtime.cameras import camera_from_text
    from vpp_edge.runtime.hands import hand_from_text
    from vpp_edge.runtime.session import SessionConfig, run_session
    from vpp_edge.runtime.supervisor import Watch

    say(f"Running it for {arguments.duration:g} s in simulation, instruction: {INSTRUCTION!r}")
    cameras = tuple(camera_from_text(f"software:sim/{view}?width=320&height=240&fps=15") for view in VIEWS)
    picture = PictureMaker()
    live = LiveLine(sys.stderr, quiet=arguments.quiet)
    watch = Watch(120_000_000_000, on_status=live.show, on_snapshot=picture.add)
    with closing(hand_from_text("sim")) as hand:
        config = SessionConfig(
            bundle=str(bundle), cameras=cameras, hand=hand, instruction=INSTRUCTION, duration_s=arguments.duration
        )
        report = run_session(config, watch)
    live.end()
    return report, picture.write(arguments.output / "demo.mp4")
