"""The students of a sweep are all combinations of the given values, each with a name of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.student_spec import StudentSpec, student_spec
from vpp_edge.workflow.distill_options import DistillOptions
from vpp_edge.workflow.sweep.options import TEACHER, Axes, Playing, SweepOptions, makings
from vpp_edge.workflow.sweep.sweeping import planned_students

SHIPPED = POLICIES[DEMO].folder


def some(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(values, max_size=3, unique=True).map(tuple)


@given(
    axes=st.builds(
        Axes,
        frames=some(st.sampled_from((1, 2, 4, 8, 16))),
        layers_per_block=some(st.integers(1, 4)),
        width=some(st.sampled_from((0.25, 0.5, 0.75, 1.0))),
        extract_layer_idx=some(st.integers(0, 3)),
        head_steps=some(st.integers(1, 10)).filter(bool),
        precision=some(st.sampled_from(("fp32", "fp16", "int8"))).filter(bool),
    ),
    base=st.sampled_from((None, StudentSpec(name="narrow", frames=8, block_out_channels=(32, 64, 64, 64)))),
)
def test_every_combination_is_made_once(axes: Axes, base: StudentSpec | None) -> None:
    students = axes.students(base)
    sizes = [axes.frames, axes.layers_per_block, axes.width, axes.extract_layer_idx]
    count = 1
    for values in sizes:
        count *= max(1, len(values))
    assert len({student.name for student in students}) == len(students) == count
    for student in students:
        assert student.frames in (axes.frames or (base.frames if base else None,))
        assert student.width in (axes.width or (None,))
        assert (student.block_out_channels is None) == (base is None or bool(axes.width))
    made = makings(students, axes, teacher_steps=10)
    assert len({each.name for each in made}) == len(made)
    assert len(made) == (1 + count * len(axes.head_steps)) * len(axes.precision)
    assert [m.precision for m in made if m.student == TEACHER] == list(axes.precision)


def test_widths_that_round_to_the_same_student_are_one() -> None:
    teacher = read_checkpoint(paths_from_folder(SHIPPED))  # widths 32, 64, 64, 64
    options = swept(Axes(width=(0.4, 0.5, 1.0)), None)
    assert [student.name for student in planned_students(teacher, options)] == ["width0.5", "width1"]


def test_a_base_gives_what_no_axis_says() -> None:
    (student,) = Axes(frames=(4,)).students(student_spec("demo"))
    assert student.name == "demo-frames4" and student.frames == 4
    assert student.encoder == student_spec("demo").encoder


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"head_steps": ()}, "at least one value of head steps"),
        ({"head_steps": (0,)}, "head_steps 0: expected a whole number from 1 to 10"),
        ({"precision": ("fp8",)}, "precision 'fp8'"),
        ({"acts_per_look": (99,)}, "acts_per_look 99"),
    ],
)
def test_values_out_of_range_are_refused(axes: dict, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Axes(**axes)


def test_acts_per_look_need_episodes() -> None:
    with pytest.raises(BadInputError, match="play some with --world"):
        swept(Axes(acts_per_look=(1, 2)), None)
    assert swept(Axes(acts_per_look=(1, 2)), Playing(world="buttons")).playing is not None


def test_what_cannot_be_played_is_refused_at_once() -> None:
    with pytest.raises(BadInputError, match="samples its actions in one step"):
        swept(Axes(head_steps=(2, 1)), Playing(world="buttons"))
    with pytest.raises(BadInputError, match="2 acts per look with chunking synchronous"):
        swept(Axes(acts_per_look=(2,)), Playing(world="buttons", chunking="synchronous"))


def test_a_seed_without_episodes_is_refused_only_where_some_are_played() -> None:
    assert swept(Axes(), None, seed=1000).distill.seed == 1000
    with pytest.raises(BadInputError, match="seed of the episodes 1000: expected a whole number from 0 to 999"):
        swept(Axes(), Playing(world="buttons"), seed=1000)


def swept(axes: Axes, playing: Playing | None, seed: int = 0) -> SweepOptions:
    distill = DistillOptions(datasets=(SHIPPED,), seed=seed)
    return SweepOptions(axes=axes, distill=distill, device="orin-agx-64gb", playing=playing)
