"""`vpp-edge eval`: measures how often a policy presses the requested button in simulation, and how smoothly."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.engine import ONNXRUNTIME, PRECISION_FROM_CHECKPOINT, check_provider_belongs
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.checkpoint.choices import FRAMES, STEPS
from vpp_edge.checkpoint.config import SAMPLERS
from vpp_edge.cli.completion_scripts import completed_by, words_and_files
from vpp_edge.cli.demo_policy import add_output_argument, exported_demo
from vpp_edge.cli.engine_arguments import add_checkpoint_argument, add_engine_arguments
from vpp_edge.cli.executor_arguments import add_executor_arguments, executor_from_arguments
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.demo.policies import POLICIES
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import real
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.act_schedule import ACTS_PER_LOOK
from vpp_edge.runtime.policy.handover_modes import MODES, NAIVE, RTC
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, KINDS, NAMES
from vpp_edge.workflow.closed_loop.bounds import (
    DELAY_MS,
    EPISODE_S,
    EPISODES,
    EVALUATION_SEED,
    REPLAN_MS,
    SCRIPTED,
)

if TYPE_CHECKING:
    from vpp_edge.workflow.closed_loop.evaluation import EvalSettings
    from vpp_edge.workflow.closed_loop.players import PlayerChoice

HELP = """Play episodes of "press the red button" in simulation with a policy and report how many succeed.

POLICY is a bundle folder; `demo`, the trained policy that ships with this package; `expert`, a script that knows where
the buttons are and will be; `chaser`, one that goes to where they are now; or `random` motion. The policy gets the
images of two simulated cameras and the instruction, and drives the simulated hand through the same control loop, limits
and chunk hand-over as in `vpp-edge run`.

--world chooses what is asked. `buttons` stand still; on a `turntable` they are smaller and move, so that the hand has
to go where they will be; with `either`, two have the requested colour, and any one of them counts.

Time is simulated: a result depends on the policy, the seed and the options, not on the machine or its load.

  vpp-edge eval demo --episodes 200 --seed 1
  vpp-edge eval demo --precision int8 --steps 4 --delay-ms 100
  vpp-edge eval my_bundle/ --episodes 50 --require 0.9       (exit status 1 below 90 %)
  vpp-edge eval my_bundle/ --episodes 10000 --ray auto       (on the Ray cluster that this machine has joined)
  vpp-edge eval expert --world turntable"""

LIMITS = ", ".join(f"{kind.name} {kind.time_limit_s:g}" for kind in KINDS)
DEMO_OPTIONS = ("precision", "steps", "solver", "frames")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    policy = parser.add_argument(
        "policy", metavar="POLICY", help=f"a bundle folder, {', '.join((*POLICIES, *SCRIPTED[:-1]))} or {SCRIPTED[-1]}"
    )
    completed_by(policy, words_and_files((*POLICIES, *SCRIPTED)))
    parser.add_argument("--world", choices=NAMES, default=BUTTONS.name, help="what the episodes ask (buttons)")
    parser.add_argument("--episodes", type=Number(EPISODES), default=200, metavar="N", help="number of episodes (200)")
    parser.add_argument(
        "--seed", type=Number(EVALUATION_SEED), default=0, metavar="S", help="selects the episodes and the noise (0)"
    )
    parser.add_argument(
        "--delay-ms",
        type=Number(DELAY_MS),
        default=0,
        metavar="D",
        help="simulated time from an observation to its chunk (0)",
    )
    parser.add_argument(
        "--acts-per-look",
        type=Number(ACTS_PER_LOOK),
        default=1,
        metavar="N",
        help="chunks from the images of one observation; those after the first start from the newest state (1)",
    )
    parser.add_argument(
        "--act-delay-ms",
        type=Number(DELAY_MS),
        metavar="D",
        help="with --acts-per-look, the part of --delay-ms from a state of the hand to its chunk (0)",
    )
    parser.add_argument(
        "--replan-ms",
        type=Number(REPLAN_MS),
        default=200,
        metavar="R",
        help="simulated time between observations (200)",
    )
    parser.add_argument(
        "--chunking",
        choices=MODES,
        help="how one chunk follows another: it continues the current one (rtc), takes over on arrival (naive), is "
        "averaged with earlier ones (ensemble), or waits until the current one has ended (synchronous); default rtc, "
        "for scripts naive",
    )
    parser.add_argument(
        "--time-limit", type=Number(EPISODE_S), metavar="S", help=f"seconds until an episode times out ({LIMITS})"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="precision of a policy of this package (fp32)")
    parser.add_argument("--steps", type=Number(STEPS), metavar="N", help="its sampling steps (as trained)")
    parser.add_argument("--solver", choices=SAMPLERS, help="its sampler (as trained)")
    parser.add_argument("--frames", type=Number(FRAMES), metavar="K", help="frames that it computes (all)")
    add_output_argument(parser, "folder for its bundles")
    add_engine_arguments(parser)
    add_checkpoint_argument(parser)
    add_executor_arguments(parser, "one per core")
    parser.add_argument(
        "--require",
        type=Number(real(0, 1)),
        metavar="SHARE",
        help="exit with status 1 if a smaller share succeeds, e.g. 0.9",
    )


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    settings, executor = _settings(arguments), executor_from_arguments(arguments)
    choice = _choice(arguments)
    from vpp_edge.cli.eval_text import facts_of, lines_of
    from vpp_edge.workflow.closed_loop.evaluation import evaluate, progress_stages
    from vpp_edge.workflow.closed_loop.summary import summary_of

    with Progress("eval", progress_stages(choice, settings), quiet=arguments.quiet) as progress:
        results = evaluate(choice, settings, executor, progress)
    summary, facts = summary_of(results), {"policy": arguments.policy, **facts_of(choice, settings)}
    passed = arguments.require is None or summary.rate.share >= arguments.require
    if arguments.json:
        outcomes = [
            {"seed": r.seed, "colour": r.colour, "verdict": r.verdict, "pressed": r.pressed, "seconds": r.seconds}
            for r in results
        ]
        print(json.dumps({**facts, "passed": passed, **summary.to_json(), "outcomes": outcomes}))
    else:
        print("\n".join(lines_of(facts, summary)))
        if not passed:
            print(f"FAILED: fewer than the {100 * arguments.require:g} % that --require asks for")
    return 0 if passed else 1


def _settings(arguments: argparse.Namespace) -> EvalSettings:
    if arguments.act_delay_ms is not None and arguments.acts_per_look == 1:
        raise BadInputError("--act-delay-ms is for --acts-per-look 2 or more; with one act, --delay-ms is all there is")
    from vpp_edge.workflow.closed_loop.evaluation import EvalSettings

    return EvalSettings(
        episodes=arguments.episodes,
        seed=arguments.seed,
        replan_ns=round(arguments.replan_ms * 1e6),
        delay_ns=round(arguments.delay_ms * 1e6),
        time_limit_s=arguments.time_limit,
        chunking=_chunking(arguments),
        acts_per_look=arguments.acts_per_look,
        act_delay_ns=round((arguments.act_delay_ms or 0) * 1e6),
        world=arguments.world,
    )


def _chunking(arguments: argparse.Namespace) -> str:
    samples = arguments.policy not in SCRIPTED
    if arguments.chunking == RTC and not samples:
        raise BadInputError(f"--chunking {RTC} guides the sampler of a policy; {arguments.policy!r} has none")
    return str(arguments.chunking or (RTC if samples else NAIVE))


def _choice(arguments: argparse.Namespace) -> PlayerChoice:
    """The player; exports the demo policy unless an earlier command did."""
    from vpp_edge.workflow.closed_loop.players import PlayerChoice

    policy, demo_options = arguments.policy, {name: getattr(arguments, name) for name in DEMO_OPTIONS}
    unusable = [] if policy in POLICIES else [name for name, value in demo_options.items() if value is not None]
    if policy in SCRIPTED:
        engine = ("backend", "provider", "checkpoint")
        unusable += [name for name in engine if getattr(arguments, name) not in (None, ONNXRUNTIME)]
    if unusable:
        raise BadInputError(
            f"{', '.join(f'--{name}' for name in unusable)} cannot be chosen for {policy!r}: a bundle has the settings "
            f"that it was exported with, {', '.join(SCRIPTED)} have none. Use it with {' or '.join(POLICIES)}, or with "
            "`vpp-edge export`."
        )
    check_provider_belongs(arguments.backend, arguments.provider)
    runs_in = PRECISION_FROM_CHECKPOINT.get(arguments.backend)
    if arguments.checkpoint is not None and runs_in is None:
        backends = " and ".join(PRECISION_FROM_CHECKPOINT)
        raise BadInputError(f"--checkpoint is for --backend {backends}; other backends need the bundle only")
    if runs_in is not None and arguments.precision not in (None, runs_in):
        raise BadInputError(
            f"--backend {arguments.backend} runs the checkpoint in {runs_in}; leave it out for "
            f"--precision {arguments.precision}"
        )
    checkpoint = None if arguments.checkpoint is None else str(arguments.checkpoint)
    bundle = _demo(arguments, demo_options) if policy in POLICIES else policy
    return PlayerChoice(bundle, arguments.backend, checkpoint, arguments.provider)


def _demo(arguments: argparse.Namespace, options: dict[str, Any]) -> str:
    """The bundle of a policy of this package with the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    return str(exported_demo(arguments, policy=arguments.policy, **given))
