"""The card of a student: where it comes from and what it kept of its teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vpp_edge.bundle.closed_loop import ClosedLoopRecord
from vpp_edge.export.distill.curve import Curve
from vpp_edge.export.distill.measures import HeadMeasures, PhysicalMeasures
from vpp_edge.export.distill.student_spec import StudentSpec


@dataclass(frozen=True)
class StudentCard:
    """Stored in the student's arguments as `distilled`, and by an export in the bundle's provenance.

    Attributes:
        teacher_sha256: of the teacher's policy file.
        student: the specification of its video model; None: the teacher's.
        sigmas: the student's noise levels.
        prefix_pulls: how often one of its steps pulls to a prefix.
        data, held_out: what it was trained and measured on, in words.
        cost: operations and predicted latency beside the teacher's, as in `student_plan`; None with its video model.
        token_error: rms error of its tokens, over that of the teacher's mean; None with the teacher's video model.
        measures, physical: on the held-out observations.
        curves: of its trainings: `encoder`, `video`, `head`, those it had.
        closed_loop: its success and its teacher's, in each simulated world where they were asked to play.
    """

    teacher_sha256: str
    student: StudentSpec | None
    head_steps: int
    sigmas: tuple[float, ...]
    prefix_pulls: int
    training: dict[str, Any]
    data: str
    held_out: str
    cost: dict[str, Any] | None
    token_error: float | None
    measures: HeadMeasures
    physical: PhysicalMeasures
    curves: Mapping[str, Curve]
    closed_loop: tuple[ClosedLoopRecord, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        records = [record.to_json() for record in self.closed_loop]
        data: dict[str, Any] = json.loads(json.dumps({**asdict(self), "closed_loop": records}))
        return data
