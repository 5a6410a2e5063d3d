"""`vpp-edge run` from the shell: wrong use is refused before anything starts; the live line knows its reader."""

from __future__ import annotations

import io
import json
import sys
from types import ModuleType

import pytest
from camera_under_test import PatternConfig
from hands_under_test import PerfectHand

from vpp_edge.cli.main import main
from vpp_edge.cli.run import LiveLine
from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.supervisor import Status

SCRIPTED = ["run", "latency_ms=20,joints=3", "--backend", "scripted", "--instruction", "Grasp the spoon."]
TWO = ["--camera", "pattern:static", "--camera", "pattern:wrist"]


@pytest.fixture
def perfect_devices(monkeypatch):
    """The command with the tests' own cameras and hand in place of the devices."""
    cameras, hands = ModuleType("vpp_edge.runtime.cameras"), ModuleType("vpp_edge.runtime.hands")

    def camera_from_text(text):
        kind, _, name = text.partition(":")
        if kind != "pattern":
            raise BadInputError(f"unknown camera kind {kind!r}")
        return PatternConfig(name)

    cameras.camera_from_text = camera_from_text
    hands.hand_from_text = lambda text: PerfectHand(MonotonicClock())
    monkeypatch.setitem(sys.modules, "vpp_edge.runtime.cameras", cameras)
    monkeypatch.setitem(sys.modules, "vpp_edge.runtime.hands", hands)


def test_a_short_run_prints_what_a_person_wants_to_know(perfect_devices, capsys):
    assert main([*SCRIPTED, *TWO, "--duration", "0.6"]) == 0
    out, err = capsys.readouterr()
    for words in ("later than 2 ms", "missed", "policy ", "p90", "camera    wrist:", "superseded", "clamped"):
        assert words in out
    assert out.rstrip().endswith("ended     end of the duration: hand held")
    assert "waiting for" in err


def test_a_machine_gets_one_json_object(perfect_devices, capsys):
    assert main([*SCRIPTED, *TWO, "--duration", "0.4", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["exit_status"] == 0 and report["control"]["loop"]["ticks"] > 30 and err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--camera", "pattern:static"], "got 1 cameras, this policy sees 2 views: static, wrist"),
        ([*TWO, "--threads", "0"], "--threads 0"),
        ([*TWO, "--seed", "-1"], "--seed -1"),
        ([*TWO, "--provider", "cuda"], "provider 'cuda' is one of ONNX Runtime"),
        ([*TWO, "--provider", "coreml"], "unknown provider 'coreml'"),
        ([*TWO, "--duration", "0"], "duration of 0.0 s"),
        ([*TWO, "--rate-hz", "1e9"], "control rate"),
        ([*TWO, "--start-timeout", "nan"], "--start-timeout nan"),
        (["--camera", "webcam:0", *TWO], "unknown camera kind 'webcam'"),
    ],
)
def test_wrong_use_is_refused_with_status_2(perfect_devices, capsys, words, expected):
    assert main([*SCRIPTED, *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_missing_bundle_is_named(perfect_devices, capsys, tmp_path):
    words = ["run", str(tmp_path / "nowhere"), "--instruction", "Go.", *TWO]
    assert main(words) == 2
    assert "nowhere" in capsys.readouterr().err


def status(waiting_for="", news=""):
    return Status(1.0, waiting_for, 8.0, 100.0, 0.001, 5, news)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_live_line_is_rewritten_on_a_terminal_and_sparse_elsewhere():
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        live = LiveLine(stream)
        live.show(status(waiting_for="the policy to load"))
        for _ in range(5):
            live.show(status())
        live.show(status(news="policy was killed"))
        live.end()
    assert terminal.getvalue().count("\r") == 9 and terminal.getvalue().count("\n") == 2
    lines = log.getvalue().splitlines()
    assert len(lines) == 4 and "waiting for the policy to load" in lines[0] and "policy was killed" in lines[2]


def test_a_reader_that_goes_away_does_not_end_the_run():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    live = LiveLine(Closed())
    live.show(status())
    live.show(status(news="more"))
    live.end()
