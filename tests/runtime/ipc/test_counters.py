"""A counter is defined once: boards, metrics, report and chaos trials take it from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import pytest
from prometheus import samples

from vpp_edge.runtime.chaos import trial
from vpp_edge.runtime.ipc import counters
from vpp_edge.runtime.ipc.channels import LOOP_FIELDS, Channels
from vpp_edge.runtime.ipc.counters import (
    CameraCounts,
    ChunkCounts,
    LoopCounts,
    PolicyCounts,
    Verdict,
    metrics_of,
    names_of,
    read_counts,
    summary_of,
    write_counts,
)
from vpp_edge.runtime.ipc.dtypes import chunk_dtype, verdict_dtype
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.session.report import CameraReport, PolicyReport
from vpp_edge.runtime.telemetry.prometheus import text_of

ALL = (ChunkCounts, LoopCounts, PolicyCounts, CameraCounts)


@pytest.fixture
def channels() -> Iterator[Channels]:
    channels = Channels.create(("static",), 8, 10)
    yield channels
    channels.close()


def test_every_counter_is_on_a_board_and_served_as_a_metric(channels: Channels) -> None:
    boards = {ChunkCounts: channels.loop, LoopCounts: channels.loop, PolicyCounts: channels.policy}
    for counts in ALL:
        board = boards.get(counts, channels.cameras[0].board)
        for value, name in enumerate(names_of(counts), start=1):
            board[name] = value
        served = samples(text_of(channels))
        label = '{view="static"}' if counts is CameraCounts else ""
        for value, metric in enumerate(metrics_of(counts), start=1):
            assert served[f"vpp_edge_{metric.name}{label}"] == value


def test_counters_of_the_chunks_are_columns_of_a_trial_and_words_of_the_summary() -> None:
    assert names_of(ChunkCounts) == trial.CHUNKS and set(names_of(ChunkCounts)) < set(LOOP_FIELDS)
    counts = ChunkCounts(*range(10, 10 + len(fields(ChunkCounts))))
    assert summary_of(counts).startswith("10 used, 11 after the hand had waited, 12 rejected, 13 too late")
    assert [phrase.split()[0] for phrase in summary_of(counts).split(", ")] == [str(v) for v in vars(counts).values()]


def test_counters_of_cameras_and_policy_are_fields_of_their_reports() -> None:
    for counts, report in ((CameraCounts, CameraReport), (PolicyCounts, PolicyReport)):
        assert set(names_of(counts)) <= {field.name for field in fields(report)}


def test_a_new_counter_is_one_field() -> None:
    @dataclass
    class More(ChunkCounts):
        blended: int = counters._counter("chunks_blended_total", "Chunks that were blended.", "blended")

    board = Board(names_of(More))
    try:
        write_counts(board, More(used=3, blended=2))
        assert read_counts(board, More) == More(used=3, blended=2)
    finally:
        board.close()
    assert metrics_of(More)[-1].name == "chunks_blended_total"
    assert summary_of(More(blended=2)).endswith(", 2 blended")


def test_metric_names_are_unique_and_every_metric_says_what_it_is() -> None:
    metrics = [metric for counts in ALL for metric in metrics_of(counts)]
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.help.endswith(".") and metric.kind in ("counter", "gauge")
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_a_verdict_fits_its_record() -> None:
    width = verdict_dtype(chunk_dtype(1, 7, 1))["verdict"].itemsize
    assert all(len(verdict.value) <= width for verdict in Verdict)
