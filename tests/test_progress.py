"""Progress on a terminal, in a log, and as a callback; the tests drive the clock."""

from __future__ import annotations

import io
import threading

import pytest

from vpp_edge.clock import FakeClock
from vpp_edge.progress import Progress, ProgressCallback, ignore_progress

STAGES = [("load", 10.0), ("text", 30.0), ("act", 60.0)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress_on(stream: io.StringIO, clock: FakeClock, **options: bool) -> Progress:
    return Progress("export", STAGES, stream=stream, clock=clock, interval_s=0, **options)


def test_remaining_time_is_the_table_until_a_stage_is_over() -> None:
    clock = FakeClock()
    with progress_on(io.StringIO(), clock) as progress:
        progress.step("load")
        assert progress.remaining_s() == pytest.approx(100)
        clock.advance_ns(4_000_000_000)
        assert progress.remaining_s() == pytest.approx(96)


def test_remaining_time_is_corrected_by_how_this_machine_did() -> None:
    clock = FakeClock()
    with progress_on(io.StringIO(), clock) as progress:
        progress.step("load")
        clock.advance_ns(20_000_000_000)  # twice the table
        progress.step("text")
        assert progress.remaining_s() == pytest.approx(2 * 90)
        clock.advance_ns(200_000_000_000)  # overran without a report: assumed near its end
        assert progress.remaining_s() == pytest.approx(2 * 60)
        progress.update(0.5)  # a reported fraction is preferred
        assert progress.remaining_s() == pytest.approx(200 + 2 * 60)


def test_a_stage_that_goes_on_is_measured_from_where_it_began() -> None:
    clock = FakeClock()
    with Progress("train", [("train", 1.0)], stream=io.StringIO(), clock=clock, interval_s=0) as progress:
        progress("train", 0.5)
        clock.advance_ns(10_000_000_000)
        progress.update(0.51)
        assert progress.remaining_s() == pytest.approx(490)


def test_durations_are_kept_by_stage() -> None:
    clock = FakeClock()
    with progress_on(io.StringIO(), clock) as progress:
        progress("load")
        clock.advance_ns(3_000_000_000)
        progress("act")  # text was skipped
        clock.advance_ns(5_000_000_000)
    assert progress.durations_s == {"load": 3.0, "act": 5.0}


def test_a_log_gets_one_line_per_stage_and_a_last_one() -> None:
    stream, clock = io.StringIO(), FakeClock()
    with progress_on(stream, clock) as progress:
        progress.step("load")
        progress.update(0.2)
        clock.advance_ns(12_000_000_000)
        progress.step("text")
    assert stream.getvalue().splitlines() == [
        "export: load (1/3), 0.0 s, about 1 min 40 s left",
        "export: text (2/3), 12 s, about 1 min 48 s left",
        "export: done in 12 s",
    ]


def test_a_terminal_gets_one_line_rewritten_and_no_leftovers() -> None:
    stream, clock = Terminal(), FakeClock()
    with progress_on(stream, clock) as progress:
        progress.step("load")
        progress.update(0.25)
    lines = stream.getvalue().split("\r")
    assert "25%" in lines[2] and stream.getvalue().count("\n") == 1
    assert len(lines[-1].rstrip("\n")) >= len(lines[-2].rstrip()), "the last line must cover the one before"


def test_a_note_stays_above_the_line() -> None:
    stream = Terminal()
    with progress_on(stream, FakeClock()) as progress:
        progress.step("load")
        progress.note("found 3 cameras")
    assert any(line.strip() == "found 3 cameras" for line in stream.getvalue().replace("\r", "\n").splitlines())
    assert stream.getvalue().index("found 3") < stream.getvalue().rindex("load (1/3)")


def test_a_long_line_is_cut_so_that_it_can_be_rewritten() -> None:
    stream = Terminal()
    with Progress("export", [("x" * 200, 1.0)], stream=stream, clock=FakeClock(), interval_s=0) as progress:
        progress.step("x" * 200)
        assert len(stream.getvalue()) <= 80


def test_an_exception_is_named_with_its_stage_and_passes() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), progress_on(stream, FakeClock()) as progress:
        progress.step("text")
        raise RuntimeError
    assert stream.getvalue().splitlines()[-1] == "export: stopped in text after 0.0 s"


def test_quiet_writes_nothing_and_still_measures() -> None:
    stream, clock = Terminal(), FakeClock()
    with progress_on(stream, clock, quiet=True) as progress:
        progress.step("load")
        clock.advance_ns(1_000_000_000)
    assert stream.getvalue() == "" and progress.durations_s == {"load": 1.0}


def test_a_progress_is_a_callback_that_never_goes_back() -> None:
    report: ProgressCallback = ignore_progress
    report("anything", 0.5)
    with progress_on(io.StringIO(), FakeClock()) as progress:
        report = progress
        report("text", 0.9)
        report("load", 0.1)
        report("text", 0.3)
        assert "text (2/3) 90%" in progress.line()


def test_a_stream_that_was_closed_does_not_end_the_work() -> None:
    stream = io.StringIO()
    with progress_on(stream, FakeClock()) as progress:
        stream.close()
        progress.step("load")
        progress.step("text")


def test_unknown_and_repeated_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="repeat"):
        Progress("export", [("load", 1.0), ("load", 1.0)])
    with pytest.raises(ValueError, match="no stage 'txet'"):
        progress_on(io.StringIO(), FakeClock())("txet")


def test_the_background_thread_refreshes_and_ends() -> None:
    refreshed = threading.Event()

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if self.getvalue():
                refreshed.set()
            return super().write(text)

    before = threading.active_count()
    with Progress("export", STAGES, stream=Log(), interval_s=0.01) as progress:
        progress.step("load")
        assert refreshed.wait(10)
    assert threading.active_count() == before
