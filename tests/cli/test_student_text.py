"""A student's card as text: the figures of its JSON; those of older students are readable, damaged ones refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.bundle.certificate import SegmentError
from vpp_edge.bundle.closed_loop import ClosedLoopRecord
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.cli.student_text import readable_student_lines, student_lines
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.curve import curve_of
from vpp_edge.export.distill.measures import HeadMeasures, PhysicalMeasures
from vpp_edge.export.distill.student_spec import student_spec
from vpp_edge.workflow.student_card import StudentCard

SEGMENT = SegmentError("delta_position", "mm", (1.25, 0.5), (3.5, 2.0))
CARD: dict[str, Any] = StudentCard(
    teacher_sha256="0123456789abcdef" * 4,
    student=student_spec("demo"),
    head_steps=2,
    sigmas=(80.0, 0.3, 0.0),
    prefix_pulls=5,
    training={"steps": 400, "seed": 0},
    data="12 observations of 3 recordings",
    held_out="4 observations of 1 recording",
    cost={
        "operations": {"UNet": 25, "action head": 5},
        "teacher_operations": {"UNet": 90, "action head": 10},
        "share": {"UNet": 0.2777, "action head": 0.5},
        "latency_ms": {"orin-agx-64gb": {"fp16": 4.0, "int8": 1.5}},
        "teacher_latency_ms": {"orin-agx-64gb": {"fp16": 9.0, "int8": 2.5}},
    },
    token_error=0.44,
    measures=HeadMeasures(
        action_rms=0.0321,
        action_rms_prefixed=0.0222,
        teacher_spread=0.0507,
        student_spread=0.0479,
        same_mode=0.981,
        teacher_following=0.53,
        student_following=0.55,
        teacher_seam=0.0168,
        student_seam=0.0131,
        observations=4,
    ),
    physical=PhysicalMeasures(student=(SEGMENT,), noise=(SEGMENT,)),
    curves={"video": curve_of([3.0] * 200 + [1.0] * 200, [0.5, 0.2, 0.07, 0.1], 150).thinned()},
    closed_loop=(
        ClosedLoopRecord("a task", SuccessRate(18, 20), SuccessRate(19, 20), "its teacher", seed=4, world="either"),
    ),
).to_json()


@pytest.mark.parametrize(
    "said",
    [
        "SHA-256 0123456789abcdef...",
        "demo: 2 frames; UNet of widths 32, 32, 32, 32; tiny image encoder of widths 32, 32, 32, 32",
        "2 sampling steps, noise levels 80, 0.3, 0",
        "4 observations of 1 recording, held out",
        "0.44 of that of their mean",
        "RMS 0.0321, normalized",
        "in 98.1 %",
        "RMS 1.2 mm, largest 3.5 mm",
        "30.0% of the teacher's: UNet 27.8%, action head 50.0%",
        "orin-agx-64gb    1.5 ms (2.5 ms)",
        "loss 3 to 1 in 400 steps; best held-out error 0.07, after step 300",
        "20 episodes, seed 4, world either, rtc",
        "90.0 % (69.9 to 97.2 %) succeed, with its teacher 95.0 %",
    ],
)
def test_it_says(said: str) -> None:
    assert said in "\n".join(student_lines(CARD))


def test_a_student_of_the_first_version_is_readable() -> None:
    """Only its head was distilled, and neither curves nor episodes were kept."""
    first = ("teacher_sha256", "head_steps", "sigmas", "prefix_pulls", "data", "held_out", "measures")
    lines = readable_student_lines({name: CARD[name] for name in first})
    assert "  video model          the teacher's" in lines and not any("malformed" in line for line in lines)


def test_without_a_card_nothing_is_said() -> None:
    assert readable_student_lines(None) == []


@given(data=st.data())
def test_a_damaged_card_is_refused_and_said_to_be(data: st.DataObject) -> None:
    """Whatever one of its values becomes."""
    card = copy.deepcopy(CARD)
    place: Any = card
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    values = st.none() | st.integers() | st.floats() | st.text() | st.lists(st.none()) | st.just({})
    place[key] = data.draw(values)
    try:
        student_lines(card)
    except BadInputError:
        (_, line) = readable_student_lines(card)
        assert line.startswith("student   the card of this student is malformed")


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(BadInputError, match="KeyError: 'measures'"):
        student_lines({name: value for name, value in CARD.items() if name != "measures"})
