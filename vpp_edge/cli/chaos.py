"""`vpp-edge chaos`: injects faults into live runs of a bundle and reports how the runtime reacted, and how fast."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.completion_scripts import completed_by, words_and_files
from vpp_edge.cli.demo_policy import add_output_argument, exported_demo
from vpp_edge.cli.engine_arguments import ALL_CORES_BUT_ONE, add_engine_arguments, add_threads_argument
from vpp_edge.cli.main import STATUS_INTERRUPTED
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.demo.policies import DEMO
from vpp_edge.errors import InconclusiveError
from vpp_edge.files.outputs import check_output_file, check_temporary_files
from vpp_edge.number_range import SEED, real, whole
from vpp_edge.runtime.chaos.result import FAILED, INCONCLUSIVE
from vpp_edge.runtime.policy.act_schedule import ACTS_PER_LOOK

if TYPE_CHECKING:
    from vpp_edge.cli.chaos_rows import Rows
    from vpp_edge.runtime.chaos.result import Fault
    from vpp_edge.runtime.chaos.trial import TrialSetup

HELP = """Inject faults into live runs of a bundle and measure how the runtime reacts, before a real hand moves.

BUNDLE is a bundle folder, or `demo` for the trained policy that ships with this package. Each fault gets a run of its
own with simulated cameras and hand: real processes, real time. How long a run waits follows the speed of the policy,
which is measured first. A fault passes if the reaction is correct and within its time bound. It is inconclusive if the
policy does not answer, or something else is missing to see the reaction. Faults that need hardware are listed as such.

  vpp-edge chaos demo
  vpp-edge chaos my_bundle/ --fault 3 14
  vpp-edge chaos my_bundle/ --html chaos.html --json > chaos.json
  vpp-edge chaos my_bundle/ --storm 300          (random faults for 5 minutes, limits checked on every command)

Exit status: 0 all passed, 1 a fault failed, 3 none failed but some are inconclusive, 130 interrupted (what had run by
then is reported)."""

SIM = "sim"
FAULT_NUMBER = whole(1, 28, why="write --fault 3 14, after BUNDLE")  # of the catalogue, which loads numpy
REPEATS = whole(1, 1000)
WATCHED_S = real(1, 1000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    completed_by(
        parser.add_argument("bundle", metavar="BUNDLE", help="a bundle folder, or demo"), words_and_files((DEMO,))
    )
    parser.add_argument(
        "--fault",
        type=Number(FAULT_NUMBER),
        nargs="+",
        action="extend",
        metavar="N",
        help="faults to inject, by number (all)",
    )
    parser.add_argument("--list", action="store_true", help="list the faults without injecting any")
    parser.add_argument(
        "--repeat", type=Number(REPEATS), default=1, metavar="N", help="runs per fault; the worst result counts (1)"
    )
    parser.add_argument(
        "--soak", type=Number(WATCHED_S), default=10, metavar="S", help="how long to watch memory usage (10)"
    )
    parser.add_argument(
        "--storm", type=Number(WATCHED_S), metavar="S", help="inject random faults for this long instead"
    )
    parser.add_argument("--hand", choices=(SIM,), default=SIM, help="hand to run (sim)")
    parser.add_argument("--seed", type=Number(SEED), default=0, help="seed of scene, noise and storm (0)")
    parser.add_argument(
        "--acts-per-look", type=Number(ACTS_PER_LOOK), default=1, metavar="N", help="as in `vpp-edge run` (1)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the results as an HTML page")
    add_engine_arguments(parser)
    add_threads_argument(parser, default=ALL_CORES_BUT_ONE)
    add_output_argument(parser, "folder for the bundle of the demo policy")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.runtime.chaos.catalogue import faults_of

    faults = faults_of(arguments.fault)
    if arguments.list:
        listed = [{"id": f.number, "fault": f.name, "reaction": f.reaction, "bound": f.bound} for f in faults]
        print(json.dumps({"faults": listed}) if arguments.json else "\n".join(map(_listed, faults)))
        return 0
    if arguments.html is not None:
        check_output_file(arguments.html, "--html")
    check_temporary_files()
    setup = _setup(arguments)
    if arguments.storm is not None:
        return _storm(arguments, setup)
    from vpp_edge.cli.chaos_rows import Rows

    rows = Rows(faults, repeat=arguments.repeat, as_json=arguments.json, quiet=arguments.quiet)
    rows.run(setup)
    return _report(arguments, setup, rows)


def _report(arguments: argparse.Namespace, setup: TrialSetup, rows: Rows) -> int:
    """Writes the page, prints the summary; the exit status."""
    from vpp_edge.cli.chaos_rows import counts_of

    facts = _facts(setup, rows)
    if arguments.html is not None:
        from vpp_edge.cli.chaos_page import write_page

        write_page(arguments.html, facts, rows)
    failed, inconclusive = rows.with_status(FAILED), rows.with_status(INCONCLUSIVE)
    if arguments.json:
        outcome = {"failed": failed, "inconclusive": inconclusive, "interrupted": rows.interrupted}
        print(json.dumps({**facts, "faults": rows.rows, **outcome}))
    else:
        print(f"\n{'interrupted: ' if rows.interrupted else ''}{counts_of(rows.rows)}")
    if rows.interrupted:
        return STATUS_INTERRUPTED
    return 1 if failed else InconclusiveError.exit_status if inconclusive else 0


def _facts(setup: TrialSetup, rows: Rows) -> dict[str, Any]:
    """What was tested, where and when."""
    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.origin import origin_of_results

    scripted = setup.options["backend"] == "scripted"
    return {
        "bundle": setup.bundle,
        "manifest_sha256": None if scripted else Bundle(Path(setup.bundle)).manifest_sha256,
        "backend": setup.options["backend"],
        "acts_per_look": setup.options["acts_per_look"],
        "pace": None if rows.pace is None else rows.pace.to_json(),
        **origin_of_results(),
    }


def _listed(fault: Fault) -> str:
    return f"{fault.number:3}  {fault.name:45}  {fault.reaction} [{fault.bound}]"


def _setup(arguments: argparse.Namespace) -> TrialSetup:
    """Simulated cameras for every view of the policy, and a simulated hand with an episode of the task."""
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.chaos.trial import TrialSetup
    from vpp_edge.runtime.session.run import policy_spec
    from vpp_edge.runtime.sim.hand import SimHand
    from vpp_edge.runtime.sim.task import episode_from_seed
    from vpp_edge.runtime.sim.view_names import VIEWS

    bundle = str(exported_demo(arguments)) if arguments.bundle == DEMO else arguments.bundle
    views = len(policy_spec(bundle, arguments.backend).cameras)
    cameras = tuple(camera_from_text(f"software:sim/{VIEWS[i % len(VIEWS)]}") for i in range(views))
    episode = episode_from_seed(arguments.seed)
    engine = {"backend": arguments.backend, "provider": arguments.provider, "threads": arguments.threads}
    return TrialSetup(
        bundle=bundle,
        cameras=cameras,
        instruction=episode.instruction,
        open_hand=lambda: SimHand(episode=episode),
        options={**engine, "seed": arguments.seed, "acts_per_look": arguments.acts_per_look},
        soak_s=arguments.soak,
    )


def _storm(arguments: argparse.Namespace, setup: TrialSetup) -> int:
    from dataclasses import replace

    from vpp_edge.runtime.chaos.pace import measure_pace
    from vpp_edge.runtime.chaos.storm import storm

    report = storm(replace(setup, pace=measure_pace(setup)), arguments.storm, arguments.seed)
    print(json.dumps(report.to_json()) if arguments.json else "\n".join(report.lines()))
    if report.interrupted:
        return STATUS_INTERRUPTED
    return 0 if report.passed else 1
