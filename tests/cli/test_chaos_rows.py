"""Rows, counts, page and exit status of `vpp-edge chaos`, with trials that do not take time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpp_edge import __version__
from vpp_edge.cli.chaos_page import write_page
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError, CheckFailedError, InconclusiveError, MissingDependencyError
from vpp_edge.runtime.chaos import catalogue, pace
from vpp_edge.runtime.chaos.catalogue import FAULTS
from vpp_edge.runtime.chaos.pace import Pace
from vpp_edge.runtime.chaos.result import Fault, Problem, TrialResult


def passes(setup: Any) -> TrialResult:
    return TrialResult(observed="all well", measured_ms=7.0, bound_ms=20.0, measures="until held")


def fails(setup: Any) -> TrialResult:
    return TrialResult(observed="all odd", problems=(Problem("the hand fell"),))


def is_inconclusive(setup: Any) -> TrialResult:
    return TrialResult(observed="little", problems=(Problem("the policy gave no answer", missing=True),))


def lacks_a_bundle(setup: Any) -> TrialResult:
    raise InconclusiveError("there is no bundle")


def lacks_a_library(setup: Any) -> TrialResult:
    raise MissingDependencyError("mujoco", "a simulated hand", "pip install mujoco")


def breaks(setup: Any) -> TrialResult:
    raise CheckFailedError("the run ended before anything was injected: fault")


def is_interrupted(setup: Any) -> TrialResult:
    raise KeyboardInterrupt


Trial = Callable[[Any], TrialResult]


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command with these trials as faults 1, 2, ...; its status, stdout and stderr."""

    def run(trials: list[Trial | None], *options: str, paced: bool = False) -> tuple[int, str, str]:
        faults = tuple(
            Fault(
                number=i,
                name=f"fault {i}",
                reaction="hold",
                bound="T",
                about="It <breaks>.",
                trial=trial,
                needs="a hand",
                paced=paced,
            )
            for i, trial in enumerate(trials, start=1)
        )
        monkeypatch.setattr(catalogue, "FAULTS", faults)
        status = main(["chaos", "latency_ms=5", "--backend", "scripted", *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("trials", "status", "counts"),
    [
        ([passes], 0, "1 passed, 0 failed, 0 need hardware"),
        ([passes, None], 0, "1 passed, 0 failed, 1 need hardware"),
        ([passes, is_inconclusive], 3, "1 passed, 0 failed, 0 need hardware, 1 inconclusive"),
        ([lacks_a_bundle, lacks_a_library], 3, "0 passed, 0 failed, 0 need hardware, 2 inconclusive"),
        ([is_inconclusive, fails], 1, "0 passed, 1 failed, 0 need hardware, 1 inconclusive"),
        ([breaks], 1, "0 passed, 1 failed, 0 need hardware"),
        ([passes, is_interrupted, fails], 130, "interrupted: 1 passed, 0 failed, 0 need hardware, 2 not run"),
        ([fails, is_interrupted], 130, "interrupted: 0 passed, 1 failed, 0 need hardware, 1 not run"),
    ],
)
def test_exit_status_and_counts(chaos: Any, trials: list[Trial | None], status: int, counts: str) -> None:
    found, out, err = chaos(trials)
    assert (found, out.splitlines()[-1], err) == (status, counts, "")


def test_the_json_names_what_failed_and_what_is_missing(chaos: Any) -> None:
    status, out, err = chaos([passes, fails, is_inconclusive, lacks_a_bundle], "--json")
    answer = json.loads(out)
    assert status == 1 and answer["failed"] == [2] and answer["inconclusive"] == [3, 4] and not answer["interrupted"]
    assert [row["status"] for row in answer["faults"]] == ["passed", "failed", "inconclusive", "inconclusive"]
    assert answer["faults"][2]["seen"] == "the policy gave no answer; little"
    assert answer["faults"][3]["seen"] == "there is no bundle"
    assert answer["versions"]["vpp-edge"] == __version__ and answer["manifest_sha256"] is None
    assert "the hand fell; all odd" in err


def test_what_ran_before_an_interrupt_is_reported_in_json_and_on_the_page(chaos: Any, tmp_path: Path) -> None:
    page = tmp_path / "chaos.html"
    status, out, _ = chaos([passes, is_interrupted, passes], "--json", "--html", str(page))
    answer = json.loads(out)
    assert status == 130 and answer["interrupted"] and answer["failed"] == []
    assert [row["status"] for row in answer["faults"]] == ["passed", "not-run", "not-run"]
    assert page.read_text().count(">not-run<") == 2


def test_the_worst_of_several_runs_counts(chaos: Any) -> None:
    def runs(*trials: Trial) -> Trial:
        left = list(trials)
        return lambda setup: left.pop(0)(setup)

    for trials, status in (((passes, is_inconclusive, passes), 3), ((fails, is_inconclusive, passes), 1)):
        assert chaos([runs(*trials)], "--repeat", "3")[0] == status


class TestPace:
    """The policy is measured once, before the trials that run it."""

    def test_trials_get_the_pace_that_was_measured(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Pace] = []
        measured = Pace(answer_s=1.25, interval_s=2.5)

        def trial(setup: Any) -> TrialResult:
            seen.append(setup.pace)
            return passes(setup)

        monkeypatch.setattr(pace, "measure_pace", lambda setup: measured)
        status, out, _ = chaos([trial, trial], paced=True)
        assert status == 0 and seen == [measured] * 2
        assert "answers within 1.25 s, at least every 2.50 s" in out

    def test_a_policy_that_cannot_run_with_these_settings_is_wrong_input(
        self, chaos: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def measure(setup: Any) -> Pace:
            raise BadInputError("no such provider")

        monkeypatch.setattr(pace, "measure_pace", measure)
        status, out, err = chaos([fails], paced=True)
        assert (status, out, err) == (2, "", "error: no such provider\n")

    @pytest.mark.parametrize(
        ("error", "status"), [(InconclusiveError("no answer"), 3), (CheckFailedError("the run ended"), 1)]
    )
    def test_without_a_pace_no_trial_that_needs_one_runs(
        self, chaos: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
    ) -> None:
        def measure(setup: Any) -> Pace:
            raise error

        monkeypatch.setattr(pace, "measure_pace", measure)
        found, out, _ = chaos([fails, is_interrupted], "--json", paced=True)
        rows = json.loads(out)["faults"]
        assert found == status and [row["seen"] for row in rows] == [str(error)] * 2
        assert chaos([passes])[0] == 0  # which needs none


def test_the_page_says_what_was_tested_when_and_what_each_fault_is(chaos: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "chaos.html"
    chaos([passes, fails, None, is_inconclusive], "--html", str(path))
    page = path.read_text()
    assert 'name="viewport"' in page and "latency_ms=5" in page and f"vpp-edge {__version__}" in page
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
    assert page.count("It &lt;breaks&gt;.") == 4
    assert "1 passed, 1 failed, 1 need hardware, 1 inconclusive" in page
    for text in ("1. fault 1", "Seen: the hand fell; all odd.", "Measured: until held.", ">7 ms<", ">20 ms<"):
        assert text in page


def test_the_page_of_a_bundle_has_its_hash(tmp_path: Path) -> None:
    from vpp_edge.cli.chaos_rows import Rows
    from vpp_edge.origin import origin_of_results

    rows = Rows((), repeat=1, as_json=True, quiet=True)
    rows.rows = [{**dict.fromkeys(("reaction", "bound", "about", "seen", "measures", "fault", "status"), "x"), "id": 1}]
    rows.rows[0].update(bound_ms=None, measured=None)
    facts = {"bundle": "b", "manifest_sha256": "0123abcd" * 8, "backend": "onnxruntime", **origin_of_results()}
    assert "0123abcd" * 8 in write_page(tmp_path / "a.html", facts, rows).read_text()


def test_every_fault_is_explained_in_a_sentence_or_two() -> None:
    assert len({fault.about for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.about[0].isupper() and fault.about.endswith("."), fault.number
        assert 1 <= len(re.findall(r"[.;](?: |$)", fault.about)) <= 3 and len(fault.about) <= 250, fault.number


@pytest.mark.parametrize(
    "words",
    [
        ("--fault", "3", "14"),
        ("--fault", "14", "--fault", "3"),
        ("--fault", "3", "--fault", "14", "3"),
    ],
)
def test_faults_are_a_list_or_repeated(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main(["chaos", "demo", "--list", "--json", *words]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["faults"]] == [3, 14]


@pytest.mark.parametrize("words", [("--fault", "3,14"), ("--fault", "3", "demo"), ("--fault", "-1"), ("--fault",)])
def test_what_is_no_number_of_a_fault_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main(["chaos", "demo", "--list", *words]) == 2
    assert "--fault" in capsys.readouterr().err
