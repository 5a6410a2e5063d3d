"""`vpp-edge run` from the shell: wrong use is refused before anything starts; the live line knows its reader."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from camera_under_test import PatternConfig
from edited import edit_json
from hands_under_test import LIMITS, PerfectHand

from vpp_edge.cli.main import main
from vpp_edge.cli.run import LiveLine
from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras import config
from vpp_edge.runtime.hands import kinds
from vpp_edge.runtime.session.hooks import Status

pytestmark = pytest.mark.live

SCRIPTED = ["run", "latency_ms=20,joints=3", "--backend", "scripted", "--instruction", "Grasp the spoon."]
TWO = ["--camera", "pattern:static", "--camera", "pattern:wrist"]


@pytest.fixture
def perfect_devices(monkeypatch):
    """The command with the tests' own cameras and hand in place of the devices."""

    def camera_from_text(text):
        kind, _, name = text.partition(":")
        if kind != "pattern":
            raise BadInputError(f"unknown camera kind {kind!r}")
        return PatternConfig(name)

    monkeypatch.setattr(config, "camera_from_text", camera_from_text)
    monkeypatch.setattr(kinds, "hand_from_text", lambda text: PerfectHand(MonotonicClock()))


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
        (["--camera", "pattern:static"], "got 1 camera, but this policy has 2 views: static, wrist"),
        ([*TWO, "--threads", "0"], "--threads 0"),
        ([*TWO, "--seed", "-1"], "--seed -1"),
        ([*TWO, "--provider", "cuda"], "provider 'cuda' belongs to ONNX Runtime"),
        ([*TWO, "--provider", "coreml"], "unknown provider 'coreml'"),
        ([*TWO, "--duration", "0"], "--duration 0: expected a number above 0"),
        ([*TWO, "--rate-hz", "1e9"], "--rate-hz 1e9: expected a number from 1 to 1000"),
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


class TestArming:
    """A hand that is no simulation moves only when an operator says so."""

    WORDS = (*SCRIPTED, *TWO, "--duration", "0.3", "--quiet", "--threads", "1")

    @pytest.fixture
    def real_hand(self, perfect_devices, monkeypatch):
        hand = PerfectHand(MonotonicClock())
        hand.simulated = False
        monkeypatch.setattr(kinds, "hand_from_text", lambda text: hand)
        return hand

    @pytest.mark.parametrize("answer", ["arm\n", " ARM \n"])
    def test_an_operator_arms_it(self, real_hand, monkeypatch, capsys, answer):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main([*self.WORDS]) == 0
        assert real_hand.sent and "Keep clear" in capsys.readouterr().err

    @pytest.mark.parametrize("answer", ["\n", "yes\n", ""])
    def test_any_other_answer_leaves_it_alone(self, real_hand, monkeypatch, capsys, answer):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main([*self.WORDS]) == 2
        assert not real_hand.sent and "nothing has moved" in capsys.readouterr().err

    def test_without_a_terminal_somebody_must_have_said_so(self, real_hand, monkeypatch, capsys):
        monkeypatch.setattr(sys, "stdin", io.StringIO("arm\n"))
        assert main([*self.WORDS]) == 2 and not real_hand.sent
        assert "--unattended" in capsys.readouterr().err
        assert main([*self.WORDS, "--dry-run"]) == 0 and not real_hand.sent
        assert main([*self.WORDS, "--unattended"]) == 0 and real_hand.sent


def status(waiting_for="", news=""):
    return Status(
        seconds=1.0, waiting_for=waiting_for, policy_hz=8.0, loop_hz=100.0, late_share=0.001, chunks=5, news=news
    )


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


class TestCertificate:
    WORDS = ("--instruction", "push block 0", *TWO, "--quiet", "--threads", "1")

    @pytest.mark.parametrize("damage", ["missing", "garbled", "over"])
    def test_a_bundle_that_is_not_certified_does_not_move_the_hand(self, perfect_devices, capsys, bundle_copy, damage):
        def change(data):
            if damage == "missing":
                data["certificate"] = {}
            elif damage == "garbled":
                data["certificate"]["limits"] = "none"
            else:
                data["certificate"]["limits"]["actions"]["value"] = 1e-9

        edit_json(bundle_copy / "manifest.json", change)
        assert main(["run", str(bundle_copy), "--duration", "0.3", *self.WORDS]) == 1
        out, err = capsys.readouterr()
        assert "is not certified to act like its policy" in err and "--ignore-certificate" in err and not out

    def test_who_takes_the_risk_may(self, perfect_devices, capsys, bundle_copy, monkeypatch):
        def twelve_joints(text):
            hand = PerfectHand(MonotonicClock(), np.array([0.4, 0, 0.3, 0, 0, 0, 1, *[0.2] * 12]))
            hand.limits = replace(
                LIMITS,
                joint_names=tuple(f"joint{i}" for i in range(12)),
                joint_lower_rad=(-2.0,) * 12,
                joint_upper_rad=(2.0,) * 12,
                joint_speed_rad_s=(2.0,) * 12,
                joint_acceleration_rad_s2=(40.0,) * 12,
                joint_jerk_rad_s3=(4000.0,) * 12,
                joint_tracking_rad=(0.3,) * 12,
            )
            return hand

        monkeypatch.setattr(kinds, "hand_from_text", twelve_joints)
        edit_json(bundle_copy / "manifest.json", lambda data: data.update(certificate={}))
        words = ("--duration", "0.3", "--ignore-certificate", "--json")
        assert main(["run", str(bundle_copy), *self.WORDS, *words]) == 0
        assert json.loads(capsys.readouterr().out)["exit_status"] == 0
