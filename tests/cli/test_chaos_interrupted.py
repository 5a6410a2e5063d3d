"""An interrupted `vpp-edge chaos` reports what ran by then, fails no fault, and has the exit status of the signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import IO

import pytest
from cpu_time import HANGS_S

from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.chaos.pace import stop_if_interrupted
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.policy.scripted import scripted_spec
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.run import run_session
from vpp_edge.runtime.sim.hand import SimHand
from vpp_edge.runtime.sim.view_names import VIEWS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("simulated_cameras")]


def started(*options: str) -> subprocess.Popen[str]:
    code = "import sys; from vpp_edge.cli.main import main; sys.exit(main())"
    words = ["chaos", "latency_ms=30", "--backend", "scripted", "--json", *options]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(stream: IO[str] | None, words: str) -> None:
    """Reads lines until one has these words."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line)
        if words in line:
            return
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rows_that_ran_are_reported_and_the_others_were_not_run(number: signal.Signals) -> None:
    process = started("--fault", "12", "20", "27", "28")
    wait_for(process.stderr, "tracking error")
    time.sleep(2)  # during the trial of fault 27, whose run stops safely, or its start
    process.send_signal(number)
    out, err = process.communicate(timeout=HANGS_S)
    answer = json.loads(out)
    assert process.returncode == 130, err
    assert {row["id"]: row["status"] for row in answer["faults"]} == {
        12: "passed",
        20: "passed",
        27: "not-run",
        28: "not-run",
    }
    assert answer["interrupted"] and answer["failed"] == answer["inconclusive"] == []


@pytest.mark.slow
def test_an_interrupted_storm_says_how_it_went_so_far() -> None:
    process = started("--storm", "100")
    time.sleep(12)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANGS_S)
    answer = json.loads(out)
    assert process.returncode == 130, err
    assert answer["interrupted"] and answer["passed"] and answer["commands"] > 100 and answer["seconds"] < 60


def test_a_signal_after_a_run_has_ended_for_another_reason_counts_too() -> None:
    """The children of a run take a while to end, in which signals do not reach Python's own handler."""
    spec = scripted_spec({})
    cameras = tuple(camera_from_text(f"software:sim/{view}") for view in VIEWS[: len(spec.cameras)])

    def stop_and_signal(loop: ControlLoop, channels: Channels) -> None:
        if not loop.ending:
            loop.request_stop("enough")
            os.kill(os.getpid(), signal.SIGINT)

    with closing(SimHand()) as hand:
        config = SessionConfig(
            bundle="latency_ms=30", cameras=cameras, hand=hand, instruction="swing", backend="scripted"
        )
        report = run_session(config, RunHooks(on_poll=stop_and_signal))
    assert report.control.cause == Cause.REQUESTED and report.ended.startswith("enough")
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        stop_if_interrupted(report)
