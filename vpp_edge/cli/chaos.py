"""`vpp-edge chaos`: injects faults into live runs of a bundle and reports how the runtime reacted, and how fast."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.completion_scripts import completed_by, words_and_files
from vpp_edge.cli.demo_policy import DEMO, add_output_argument, exported_demo
from vpp_edge.cli.engine_arguments import ALL_CORES_BUT_ONE, add_engine_arguments, add_threads_argument
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import VppEdgeError
from vpp_edge.number_range import SEED, real, whole
from vpp_edge.runtime.chaos.result import FAILED, NEEDS_HARDWARE, PASSED

if TYPE_CHECKING:
    from vpp_edge.runtime.chaos.result import Fault, RunTrial
    from vpp_edge.runtime.chaos.trial import TrialSetup

HELP = """Inject faults into live runs of a bundle and measure how the runtime reacts, before a real hand moves.

BUNDLE is a bundle folder, or `demo` for the trained policy that ships with this package. Each fault gets a run of its
own with simulated cameras and hand: real processes, real time. A fault passes if the reaction is correct and within its
time bound. Faults that need hardware are listed as such. Exit status 1 if any fault fails.

  vpp-edge chaos demo
  vpp-edge chaos my_bundle/ --fault 3 --fault 14
  vpp-edge chaos my_bundle/ --html chaos.html --json > chaos.json
  vpp-edge chaos my_bundle/ --storm 300          (random faults for 5 minutes, limits checked on every command)"""

SIM = "sim"
FAULT_NUMBER = whole(1, 28)  # of the catalogue, which loads numpy
REPEATS = whole(1, 1000)
WATCHED_S = real(1, 1000)
NOTHING_MEASURED = {"measured": None, "bound_ms": None, "measures": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    completed_by(
        parser.add_argument("bundle", metavar="BUNDLE", help="a bundle folder, or demo"), words_and_files((DEMO,))
    )
    parser.add_argument(
        "--fault",
        type=Number(FAULT_NUMBER),
        action="append",
        metavar="N",
        help="fault to inject; repeat for several (all)",
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
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the results as an HTML page")
    add_engine_arguments(parser)
    add_threads_argument(parser, default=ALL_CORES_BUT_ONE)
    add_output_argument(parser, "folder for the bundle of the demo policy")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.runtime.chaos.catalogue import faults_of

    faults = faults_of(arguments.fault)
    if arguments.list:
        rows = [{"id": f.number, "fault": f.name, "reaction": f.reaction, "bound": f.bound} for f in faults]
        print(json.dumps({"faults": rows}) if arguments.json else "\n".join(map(_listed, faults)))
        return 0
    setup = _setup(arguments)
    if arguments.storm is not None:
        return _storm(arguments, setup)
    rows = [_row(fault, setup, arguments) for fault in faults]
    if arguments.html is not None:
        from vpp_edge.cli.chaos_page import write_page

        write_page(arguments.html, setup.bundle, rows)
    failed = [row["id"] for row in rows if row["status"] == FAILED]
    if arguments.json:
        print(json.dumps({"bundle": setup.bundle, "faults": rows, "failed": failed}))
    else:
        passed = sum(row["status"] == PASSED for row in rows)
        print(f"\n{passed} passed, {len(failed)} failed, {len(rows) - passed - len(failed)} need hardware")
    return 1 if failed else 0


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
        options={**engine, "seed": arguments.seed},
        soak_s=arguments.soak,
    )


def _row(fault: Fault, setup: TrialSetup, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs the trials of one fault and prints the worst result."""
    result: dict[str, Any] = {"status": NEEDS_HARDWARE, **NOTHING_MEASURED, "seen": fault.needs}
    if fault.trial is not None:
        results = [_result(fault.trial, setup) for _ in range(arguments.repeat)]
        result = max(results, key=lambda one: (one["status"] == FAILED, one["measured"] or 0.0))
    row = {"id": fault.number, "fault": fault.name, "reaction": fault.reaction, "bound": fault.bound, **result}
    if not arguments.json:
        print(_line(row), flush=True)
    elif not arguments.quiet:
        print(_line(row), file=sys.stderr, flush=True)
    return row


def _result(trial: RunTrial, setup: TrialSetup) -> dict[str, Any]:
    try:
        result = trial(setup)
    except VppEdgeError as error:
        return {"status": FAILED, **NOTHING_MEASURED, "seen": str(error)}
    return {
        "status": PASSED if result.passed else FAILED,
        "measured": result.measured_ms,
        "bound_ms": result.bound_ms,
        "measures": result.measures,
        "seen": "; ".join((*result.problems, result.observed)),
    }


def _line(row: dict[str, Any]) -> str:
    measured, bound = row["measured"], row["bound_ms"]
    number = "never" if measured is None else f"{measured:.0f} ms"
    time = "" if bound is None else f"; {row['measures']}: {number} (bound {bound:.0f} ms)"
    return f"{row['id']:3}  {row['fault']:45}  {row['status']:14}  {row['seen']}{time}"


def _storm(arguments: argparse.Namespace, setup: TrialSetup) -> int:
    from vpp_edge.runtime.chaos.storm import storm

    report = storm(setup, arguments.storm, arguments.seed)
    print(json.dumps(report.to_json()) if arguments.json else "\n".join(report.lines()))
    return 0 if report.passed else 1
