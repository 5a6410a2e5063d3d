"""`vpp-edge run`: in, a bundle, cameras, a hand and an instruction; out, a moving hand, a live line and a summary."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, TextIO

from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from vpp_edge.runtime.interfaces import Hand
    from vpp_edge.runtime.session.supervisor import Status

HELP = """Run a bundle on cameras and a hand, until --duration is over or Ctrl-C; the hand is held then.

Give --camera once for each view of the policy, as VIEW=KIND:SOURCE?OPTION=VALUE&..., where VIEW is its name in the
policy (static, wrist...); without VIEW= the first is the static one. Several real cameras must have it:
  realsense:SERIAL     a RealSense camera; without :SERIAL the only one attached
  software:FILE.mp4    a recorded video through RealSense's software device
  software:sim/VIEW    the simulated hand (VIEW: top, side or wrist) through RealSense's software device
  bag:FILE             a RealSense recording, .bag or .db3
  video:FILE.mp4       a recorded video without RealSense's library
Options: width and height in pixels, fps, and loop=0 for files that are to end rather than begin again; for example
software:FILE.mp4?fps=30&loop=0 (in quotes, because of the &).

  vpp-edge run my_bundle/ --camera static=realsense:123 --camera wrist=realsense:456 --instruction "Grasp the spoon."

The summary on stdout says how well the loop kept its time, how fast the policy was, and where every frame went.
--backend scripted needs no bundle (write `latency_ms=50` in its place): it swings the hand, to try cameras and hand."""

LOG_INTERVAL_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="folder that `vpp-edge export` wrote")
    parser.add_argument("--camera", action="append", metavar="VIEW=KIND:SOURCE", default=[], help="one per view")
    parser.add_argument(
        "--hand", default="sim", metavar="KIND", help="hand to move: sim, or sim:SEED for the world of an episode (sim)"
    )
    parser.add_argument("--instruction", required=True, metavar="TEXT", help="what the hand should do")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds from the first chunk (until Ctrl-C)")
    parser.add_argument("--rate-hz", type=float, default=100.0, metavar="HZ", help="rate of the control loop (100)")
    parser.add_argument("--record", metavar="DIR", help="add the run as an episode to a data set; needs PyAV")
    parser.add_argument("--dry-run", action="store_true", help="compute every command, send none")
    parser.add_argument(
        "--unattended", action="store_true", help="let a real hand move without asking an operator to arm it"
    )
    parser.add_argument(
        "--ignore-certificate", action="store_true", help="run a bundle that was not measured to act like its policy"
    )
    parser.add_argument(
        "--chunking",
        choices=("rtc", "naive", "ensemble", "synchronous"),
        default="rtc",
        help="how one chunk follows another, as in `vpp-edge eval` (rtc)",
    )
    parser.add_argument("--backend", default="onnxruntime", help="engine library (onnxruntime)")
    parser.add_argument("--provider", metavar="NAME", help="of ONNX Runtime: cpu, cuda or tensorrt (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (all cores but one)")
    parser.add_argument("--seed", type=int, default=0, help="of the policy's noise (0)")
    parser.add_argument("--log", metavar="FILE.mcap", help="tell the whole run to a file, for Foxglove and the like")
    parser.add_argument(
        "--rerun",
        nargs="?",
        const="viewer",
        metavar="WHERE",
        help="show the run live in the Rerun viewer: a window, or the address of one, or FILE.rrd",
    )
    parser.add_argument("--log-frames", type=float, default=5.0, metavar="HZ", help="images of each view in them (5)")
    parser.add_argument(
        "--metrics", metavar="WHERE", help="counts for Prometheus on a Unix socket (a path) or a loopback port"
    )
    parser.add_argument("--control-cpu", type=int, metavar="N", help="core that only the control loop uses (none)")
    parser.add_argument("--no-real-time", action="store_true", help="ordinary scheduling, even where more is permitted")
    parser.add_argument("--arm", type=int, default=0, metavar="N", help="arm of a two-armed policy that is here (0)")
    parser.add_argument(
        "--start-timeout", type=float, default=300.0, metavar="S", help="wait for the first chunk (300)"
    )


def run(arguments: argparse.Namespace) -> int:
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.cameras.views import cameras_by_view
    from vpp_edge.runtime.hands.kinds import hand_from_text
    from vpp_edge.runtime.session.config import SessionConfig
    from vpp_edge.runtime.session.run import policy_spec, run_session
    from vpp_edge.runtime.session.supervisor import RunHooks

    if arguments.threads is not None and arguments.threads < 1:
        raise BadInputError(f"--threads {arguments.threads}: expected at least 1")
    if not 0 < arguments.start_timeout < 1e6:
        raise BadInputError(f"--start-timeout {arguments.start_timeout}: expected a positive number of seconds")
    if arguments.seed < 0:
        raise BadInputError(f"--seed {arguments.seed}: expected 0 or more")
    given = [camera_from_text(text) for text in arguments.camera]
    cameras = cameras_by_view(policy_spec(arguments.bundle, arguments.backend), given)
    live = LiveLine(sys.stderr, quiet=arguments.quiet)
    with contextlib.closing(hand_from_text(arguments.hand)) as hand:
        _ask_to_arm(hand, arguments)
        config = SessionConfig(
            bundle=arguments.bundle,
            cameras=cameras,
            hand=hand,
            instruction=arguments.instruction,
            duration_s=arguments.duration,
            rate_hz=arguments.rate_hz,
            backend=arguments.backend,
            provider=arguments.provider,
            threads=arguments.threads,
            seed=arguments.seed,
            arm=arguments.arm,
            dry_run=arguments.dry_run,
            record=arguments.record,
            ignore_certificate=arguments.ignore_certificate,
            chunking=arguments.chunking,
            start_s=arguments.start_timeout,
            log=arguments.log,
            viewer=arguments.rerun,
            log_frames_hz=arguments.log_frames,
            metrics=arguments.metrics,
            control_cpu=arguments.control_cpu,
            real_time=not arguments.no_real_time,
        )
        try:
            report = run_session(config, RunHooks(on_status=live.show))
        finally:
            live.end()
    if arguments.json:
        print(json.dumps(report.to_json()))
    else:
        print("\n".join(report.lines()))
    return report.exit_status


def _ask_to_arm(hand: Hand, arguments: argparse.Namespace) -> None:
    """Before a real hand moves, an operator says that nobody's fingers are in it.

    Raises:
        BadInputError: the operator does not, or there is nobody to ask.
    """
    from vpp_edge.runtime.interfaces import SimulatedHand

    if arguments.dry_run or arguments.unattended or isinstance(hand, SimulatedHand):
        return
    if not sys.stdin.isatty():
        raise BadInputError(
            f"--hand {arguments.hand} is a real hand and there is no terminal to ask whether it may move; start it "
            "from one, try --dry-run, or take the responsibility with --unattended"
        )
    print(f"{hand.name}: the hand is going to move. Keep clear of it, and know how to cut its power.", file=sys.stderr)
    print("Type `arm` and Enter to let it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "arm":
        raise BadInputError("the hand was not armed; nothing has moved")


class LiveLine:
    """One line on stderr: rewritten on a terminal; elsewhere printed now and then, and at once when it is news."""

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream, self._quiet = stream, quiet
        self._terminal = stream.isatty()
        self._width = 0
        self._printed_s = -LOG_INTERVAL_S
        self._waiting_for: str | None = None

    def show(self, status: Status) -> None:
        """Called by the supervisor twice a second. Nobody reading must not end the run."""
        now_s = time.monotonic()
        news = bool(status.news) or status.waiting_for != self._waiting_for
        if self._quiet or not (self._terminal or news or now_s - self._printed_s >= LOG_INTERVAL_S):
            return
        self._printed_s, self._waiting_for = now_s, status.waiting_for
        if status.news:
            self._write(f"{status.seconds:5.1f} s  {status.news}", last=True)
        self._write(status.line(), last=not self._terminal)

    def clear(self) -> None:
        """Makes room on a terminal for a line of somebody else."""
        if self._width and not self._quiet:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def end(self) -> None:
        """Leaves the line for what comes next."""
        if self._width and not self._quiet:
            self._write("", last=True)

    def _write(self, text: str, last: bool) -> None:
        try:
            if self._terminal:
                self._stream.write("\r" + text.ljust(self._width))
                self._width = 0 if last else len(text)
            else:
                self._stream.write(text)
            self._stream.write("\n" if last else "")
            self._stream.flush()
        except (OSError, ValueError):
            self._quiet = True
