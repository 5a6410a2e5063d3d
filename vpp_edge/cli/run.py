"""`vpp-edge run`: runs a bundle on cameras and a hand, with a status line and a summary at the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, TextIO

from vpp_edge.cli.completion_scripts import completed_by, words_then_files
from vpp_edge.cli.engine_arguments import ALL_CORES_BUT_ONE, add_engine_arguments, add_threads_argument
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import SEED
from vpp_edge.runtime.hands.kinds import hand_kinds
from vpp_edge.runtime.policy.act_schedule import ACTS_PER_LOOK
from vpp_edge.runtime.policy.handover_modes import MODES
from vpp_edge.runtime.session.config import ARM, CPU, DURATION_S, LOG_FRAMES_HZ, RATE_HZ, SessionConfig

if TYPE_CHECKING:
    from vpp_edge.runtime.interfaces import Hand
    from vpp_edge.runtime.session.hooks import Status

HELP = """Run a bundle on cameras and a hand until --duration is over or Ctrl-C; the hand is then held.

Give --camera once for each view of the policy, as VIEW=KIND:SOURCE?OPTION=VALUE&..., where VIEW is its name in the
policy (static, wrist...). Without VIEW= the first is the static one; several real cameras need VIEW=. Kinds:
  realsense:SERIAL     a RealSense camera; without :SERIAL the only one attached
  software:FILE.mp4    a recorded video through RealSense's software device
  software:sim/VIEW    the simulated hand (VIEW: top, side or wrist) through RealSense's software device
  bag:FILE             a RealSense recording, .bag or .db3
  video:FILE.mp4       a recorded video without RealSense's library
Options: width and height in pixels, fps, and loop=0 to play a file only once; for example
"software:FILE.mp4?fps=30&loop=0" (quoted because of the &).

  vpp-edge run my_bundle/ --camera static=realsense:123 --camera wrist=realsense:456 --instruction "Grasp the spoon."

The summary on stdout reports the timing of the loop, the latency of the policy, and what happened to the frames.
--backend scripted needs no bundle (write `latency_ms=50` instead): it swings the hand, to test cameras and hand."""

LOG_INTERVAL_S = 5.0
CAMERA_WORDS = ("realsense:", "software:", "bag:", "video:")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="folder that `vpp-edge export` wrote")
    camera = parser.add_argument(
        "--camera", action="append", metavar="VIEW=KIND:SOURCE", default=[], help="one per view"
    )
    completed_by(camera, words_then_files(CAMERA_WORDS))
    hand = parser.add_argument(
        "--hand", default="sim", metavar="KIND", help="hand to move: sim, or sim:SEED for the world of an episode (sim)"
    )
    completed_by(hand, words_then_files(hand_kinds()))
    parser.add_argument("--instruction", required=True, metavar="TEXT", help="what the hand should do")
    parser.add_argument(
        "--duration", type=Number(DURATION_S), metavar="S", help="seconds from the first chunk (until Ctrl-C)"
    )
    parser.add_argument(
        "--rate-hz",
        type=Number(RATE_HZ),
        default=SessionConfig.rate_hz,
        metavar="HZ",
        help=f"rate of the control loop ({SessionConfig.rate_hz:g})",
    )
    parser.add_argument("--record", metavar="DIR", help="add the run as an episode to a data set; needs PyAV")
    parser.add_argument("--dry-run", action="store_true", help="compute commands but send none")
    parser.add_argument(
        "--unattended", action="store_true", help="move a real hand without asking an operator to arm it"
    )
    parser.add_argument(
        "--ignore-certificate", action="store_true", help="run a bundle whose parity certificate is missing or exceeded"
    )
    parser.add_argument(
        "--chunking",
        choices=MODES,
        default=SessionConfig.chunking,
        help=f"how one chunk follows another, as in `vpp-edge eval` ({SessionConfig.chunking})",
    )
    parser.add_argument(
        "--acts-per-look",
        type=Number(ACTS_PER_LOOK),
        default=SessionConfig.acts_per_look,
        metavar="N",
        help="chunks from the images of one observation; those after the first start from the hand's newest state; "
        f"measure it with `vpp-edge eval` first ({SessionConfig.acts_per_look})",
    )
    add_engine_arguments(parser)
    add_threads_argument(parser, default=ALL_CORES_BUT_ONE)
    parser.add_argument("--seed", type=Number(SEED), default=0, help="seed of the policy's noise (0)")
    parser.add_argument("--log", metavar="FILE.mcap", help="log the whole run to a file, for Foxglove or similar")
    parser.add_argument(
        "--rerun",
        nargs="?",
        const="viewer",
        metavar="WHERE",
        help="show the run in the Rerun viewer: in a new window, at the address of a viewer, or in FILE.rrd",
    )
    parser.add_argument(
        "--log-frames",
        type=Number(LOG_FRAMES_HZ),
        default=SessionConfig.log_frames_hz,
        metavar="HZ",
        help=f"images of each view per second in --log and --rerun ({SessionConfig.log_frames_hz:g})",
    )
    parser.add_argument(
        "--metrics", metavar="WHERE", help="serve counters for Prometheus on a Unix socket (a path) or a loopback port"
    )
    parser.add_argument(
        "--control-cpu", type=Number(CPU), metavar="N", help="core reserved for the control loop (none)"
    )
    parser.add_argument("--no-real-time", action="store_true", help="normal scheduling, even if real-time is permitted")
    parser.add_argument(
        "--arm", type=Number(ARM), default=0, metavar="N", help="arm of a two-armed policy that this hand is (0)"
    )
    parser.add_argument(
        "--start-timeout",
        type=Number(DURATION_S),
        default=SessionConfig.start_s,
        metavar="S",
        help=f"seconds to wait for the first chunk ({SessionConfig.start_s:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.cameras.views import cameras_by_view
    from vpp_edge.runtime.hands.kinds import hand_from_text
    from vpp_edge.runtime.session.config import SessionConfig
    from vpp_edge.runtime.session.hooks import RunHooks
    from vpp_edge.runtime.session.run import policy_spec, run_session

    given = [camera_from_text(text) for text in arguments.camera]
    spec = policy_spec(arguments.bundle, arguments.backend)
    cameras = cameras_by_view(spec, given)
    for note in () if arguments.quiet else spec.notes:  # the report has them in any case
        print(f"note: {note}", file=sys.stderr)
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
            acts_per_look=arguments.acts_per_look,
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
    """Asks an operator for permission before a real hand moves.

    Raises:
        BadInputError: the operator does not give it, or there is no terminal.
    """
    from vpp_edge.runtime.interfaces import is_simulated

    if arguments.dry_run or arguments.unattended or is_simulated(hand):
        return
    if not sys.stdin.isatty():
        raise BadInputError(
            f"--hand {arguments.hand} is a real hand, and there is no terminal to ask for permission to move it; start "
            "from a terminal, use --dry-run, or take responsibility with --unattended"
        )
    print(f"{hand.name}: the hand is going to move. Keep clear of it, and know how to cut its power.", file=sys.stderr)
    print("Type `arm` and press Enter to allow it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "arm":
        raise BadInputError("the hand was not armed; nothing has moved")


class LiveLine:
    """The status line on stderr: rewritten on a terminal, elsewhere printed every LOG_INTERVAL_S and on news."""

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream, self._quiet = stream, quiet
        self._terminal = stream.isatty()
        self._width = 0
        self._printed_s = -LOG_INTERVAL_S
        self._waiting_for: str | None = None

    def show(self, status: Status) -> None:
        """Shows a status; the supervisor calls this twice a second. A closed stream does not end the run."""
        now_s = time.monotonic()
        news = bool(status.news) or status.waiting_for != self._waiting_for
        if self._quiet or not (self._terminal or news or now_s - self._printed_s >= LOG_INTERVAL_S):
            return
        self._printed_s, self._waiting_for = now_s, status.waiting_for
        if status.news:
            self._write(f"{status.seconds:5.1f} s  {status.news}", last=True)
        self._write(status.line(), last=not self._terminal)

    def clear(self) -> None:
        """Clears the line on a terminal, before other output."""
        if self._width and not self._quiet:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def end(self) -> None:
        """Ends the line, so that other output can follow."""
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
