"""`vpp-edge chaos`: in, a bundle; out, for every fault that can be injected, what the run made of it and how fast."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError, VppEdgeError

if TYPE_CHECKING:
    from vpp_edge.runtime.chaos.result import Fault, TrialResult
    from vpp_edge.runtime.chaos.trial import Setting

HELP = """Inject faults into live runs of a bundle and measure how the runtime reacts, before a real hand moves.

BUNDLE is a bundle folder, or `demo`, the trained policy that comes with this package. Each fault gets a run of its own
with simulated cameras and hand: real processes, real time. A fault passes when the reaction is right and within its
bound. What only hardware can show is listed as such. Exit status 1 when one fails.

  vpp-edge chaos demo
  vpp-edge chaos my_bundle/ --fault 3 --fault 14
  vpp-edge chaos my_bundle/ --html chaos.html --json > chaos.json
  vpp-edge chaos my_bundle/ --storm 300          (random faults for 5 minutes, limits checked on every command)"""

DEMO, SIM = "demo", "sim"
NOTHING_MEASURED = {"measured": None, "bound_ms": None, "measures": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle folder, or demo")
    parser.add_argument(
        "--fault", type=int, action="append", metavar="N", help="only this one; may be given again (all)"
    )
    parser.add_argument("--list", action="store_true", help="list the faults, inject none")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run each so often; the worst counts (1)")
    parser.add_argument("--soak", type=float, default=10, metavar="S", help="how long memory is watched (10)")
    parser.add_argument("--storm", type=float, metavar="S", help="random faults for so many seconds instead")
    parser.add_argument("--hand", choices=(SIM,), default=SIM, help="the hand to endanger (sim)")
    parser.add_argument("--seed", type=int, default=0, help="of scene, noise and storm (0)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the results")
    parser.add_argument("--backend", default="onnxruntime", help="engine library (onnxruntime)")
    parser.add_argument("--provider", metavar="NAME", help="of ONNX Runtime: cpu, cuda or tensorrt (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (all cores but one)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="where the demo policy's bundle is kept (demo-output)",
    )


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.runtime.chaos.catalogue import faults_of

    if arguments.repeat < 1 or not 1 <= arguments.soak <= 1000 or not 1 <= (arguments.storm or 1) <= 1000:
        raise BadInputError("--repeat takes 1 or more, --soak and --storm 1 to 1000 seconds")
    faults = faults_of(arguments.fault)
    if arguments.list:
        rows = [{"id": f.number, "fault": f.name, "reaction": f.reaction, "bound": f.bound} for f in faults]
        print(json.dumps({"faults": rows}) if arguments.json else "\n".join(map(_listed, faults)))
        return 0
    setting = _setting(arguments)
    if arguments.storm is not None:
        return _storm(arguments, setting)
    rows = [_row(fault, setting, arguments) for fault in faults]
    if arguments.html is not None:
        from vpp_edge.cli.chaos_page import write_page

        write_page(arguments.html, setting.bundle, rows)
    failed = [row["id"] for row in rows if row["status"] == "failed"]
    if arguments.json:
        print(json.dumps({"bundle": setting.bundle, "faults": rows, "failed": failed}))
    else:
        passed = sum(row["status"] == "passed" for row in rows)
        needing = len(rows) - passed - len(failed)
        print(f"\n{passed} passed, {len(failed)} failed, {needing} need hardware")
    return 1 if failed else 0


def _listed(fault: Fault) -> str:
    return f"{fault.number:3}  {fault.name:48}  {fault.reaction}; {fault.bound}"


def _setting(arguments: argparse.Namespace) -> Setting:
    """Simulated cameras for every view of the policy, and an episode of the task for the hand."""
    from vpp_edge.runtime.cameras.config import camera_from_text
    from vpp_edge.runtime.chaos.trial import Setting
    from vpp_edge.runtime.session.run import policy_spec
    from vpp_edge.runtime.sim.hand import SimHand
    from vpp_edge.runtime.sim.renderer import VIEWS
    from vpp_edge.runtime.sim.task import episode_from_seed

    if arguments.seed < 0:
        raise BadInputError(f"--seed {arguments.seed}: expected 0 or more")
    bundle = _demo_bundle(arguments) if arguments.bundle == DEMO else arguments.bundle
    views = len(policy_spec(bundle, arguments.backend).cameras)
    cameras = tuple(camera_from_text(f"software:sim/{VIEWS[i % len(VIEWS)]}") for i in range(views))
    episode = episode_from_seed(arguments.seed)
    engine = {"backend": arguments.backend, "provider": arguments.provider, "threads": arguments.threads}
    return Setting(
        bundle,
        cameras,
        episode.instruction,
        lambda: SimHand(episode=episode),
        {**engine, "seed": arguments.seed},
        arguments.soak,
    )


def _demo_bundle(arguments: argparse.Namespace) -> str:
    from vpp_edge.demo.bundle import DemoOptions, demo_bundle

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr)

    return str(demo_bundle(arguments.output, DemoOptions(), fresh=False, quiet=arguments.quiet, say=say))


def _row(fault: Fault, setting: Setting, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs one fault and prints its line."""
    found: dict[str, Any] = {"status": "needs-hardware", **NOTHING_MEASURED, "seen": fault.needs}
    if fault.trial is not None:
        found = _worst([_finding(fault.trial, setting) for _ in range(arguments.repeat)])
    row = {"id": fault.number, "fault": fault.name, "reaction": fault.reaction, "bound": fault.bound, **found}
    if not arguments.json:
        print(line_of(row), flush=True)
    elif not arguments.quiet:
        print(line_of(row), file=sys.stderr, flush=True)
    return row


def _finding(trial: Callable[[Setting], TrialResult], setting: Setting) -> dict[str, Any]:
    try:
        finding = trial(setting)
    except VppEdgeError as error:
        return {"status": "failed", **NOTHING_MEASURED, "seen": str(error)}
    return {
        "status": "passed" if finding.passed else "failed",
        "measured": finding.measured_ms,
        "bound_ms": finding.bound_ms,
        "measures": finding.measures,
        "seen": "; ".join((*finding.problems, finding.seen)),
    }


def _worst(found: list[dict[str, Any]]) -> dict[str, Any]:
    return max(found, key=lambda one: (one["status"] == "failed", one["measured"] or 0.0))


def line_of(row: dict[str, Any]) -> str:
    """What a person reads of one fault."""
    measured, bound = row["measured"], row["bound_ms"]
    number = "never" if measured is None else f"{measured:.0f} ms"
    time = "" if bound is None else f"; {row['measures']}: {number} (bound {bound:.0f} ms)"
    return f"{row['id']:3}  {row['fault']:44}  {row['status']:14}  {row['seen']}{time}"


def _storm(arguments: argparse.Namespace, setting: Setting) -> int:
    from vpp_edge.runtime.chaos.storm import storm

    found = storm(setting, arguments.storm, arguments.seed)
    if arguments.json:
        print(json.dumps(found.to_json()))
    else:
        print("\n".join(found.lines()))
    return 0 if found.passed else 1
