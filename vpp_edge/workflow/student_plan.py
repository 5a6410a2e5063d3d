"""What a student will cost, before it is trained: in, its teacher and its specification; out, operations and latency.

Neither has to exist: only sizes are read, so this also answers for a teacher of full size on any machine. Latencies are
predictions of the roofline model (docs/cost.md), not measurements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vpp_edge.bundle.work import Graph
from vpp_edge.checkpoint.config import PolicyConfig
from vpp_edge.checkpoint.model_configs import feature_channels, feature_pixels
from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.export.distill.student import student_configs
from vpp_edge.export.distill.student_sampler import student_sigmas
from vpp_edge.export.distill.student_spec import StudentSpec
from vpp_edge.export.weightless import graphs_without_weights
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.costs import costs_of_graph
from vpp_edge.profile.roofline.layers import part_of
from vpp_edge.profile.roofline.prediction import INFERENCE
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.wording import counted
from vpp_edge.workflow.distill_options import DistillOptions

HEAD_STEPS = DistillOptions.head_steps
# (stage of the progress display, seconds on one core), whatever the size of the policy.
PROGRESS_STAGES = (("teacher", 30.0), ("student", 15.0))
PRECISIONS = ("fp16", "int8")
_HEAD = "action head"


@dataclass(frozen=True)
class PolicyCost:
    """Work and predicted time of one inference, perceive and act.

    Attributes:
        operations: of matrix products, by part of the policy, 2 per multiply-accumulate.
        predicted_ms: by device and precision.
    """

    operations: Mapping[str, int]
    predicted_ms: Mapping[str, Mapping[str, float]]

    @property
    def total(self) -> int:
        return sum(self.operations.values())


@dataclass(frozen=True)
class StudentPlan:
    """A student's cost beside its teacher's."""

    name: str
    cameras: int
    teacher: PolicyCost
    student: PolicyCost

    def shares(self) -> dict[str, float]:
        """The student's share of the teacher's operations, by part."""
        return {part: count / self.teacher.operations[part] for part, count in self.student.operations.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        student, teacher = self.student, self.teacher
        return {
            "predicted": True,
            "measured": False,
            "cameras": self.cameras,
            "operations": dict(student.operations),
            "teacher_operations": dict(teacher.operations),
            "share": self.shares(),
            "latency_ms": {device: dict(found) for device, found in student.predicted_ms.items()},
            "teacher_latency_ms": {device: dict(found) for device, found in teacher.predicted_ms.items()},
        }

    def lines(self) -> list[str]:
        """Two tables for people."""
        student, teacher, shares = self.student, self.teacher, self.shares()
        lines = [f"{self.name}, {counted(self.cameras, 'camera')}: one inference, perceive + act"]
        lines.append(f"{'part':<16} {'GOP':>10} {'teacher GOP':>12} {'share':>7}")
        for part, count in student.operations.items():
            before = teacher.operations[part]
            lines.append(f"{part:<16} {count / 1e9:>10.3f} {before / 1e9:>12.3f} {shares[part]:>7.1%}")
        share = student.total / teacher.total
        lines.append(f"{'total':<16} {student.total / 1e9:>10.3f} {teacher.total / 1e9:>12.3f} {share:>7.1%}")
        lines += ["", f"{'predicted ms, not measured':<28}" + "".join(f"{p:>8} {'teacher':>10}" for p in PRECISIONS)]
        for device, found in student.predicted_ms.items():
            cells = (f"{found[p]:>8.2f} {teacher.predicted_ms[device][p]:>10.2f}" for p in PRECISIONS)
            lines.append(f"{device:<28}{''.join(cells)}")
        return lines


def plan_of_student(
    teacher: Checkpoint,
    spec: StudentSpec,
    *,
    head_steps: int = HEAD_STEPS,
    teacher_cost: PolicyCost | None = None,
    report: ProgressCallback = ignore_progress,
) -> StudentPlan:
    """The cost of a student that samples in `head_steps` steps.

    Args:
        teacher: only its sizes are read.
        teacher_cost: of `cost_of_policy`, where it is known.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.

    Raises:
        BadInputError: the specification does not fit this teacher.
    """
    student = student_without_weights(teacher, spec, head_steps)
    if teacher_cost is None:
        report("teacher", 0)
        teacher_cost = cost_of_policy(teacher)
    report("student", 0)
    return StudentPlan(
        name=spec.name,
        cameras=len(teacher.spec.cameras),
        teacher=teacher_cost,
        student=cost_of_policy(student),
    )


def cost_of_policy(checkpoint: Checkpoint) -> PolicyCost:
    """The cost of a policy of these sizes, once it is exported."""
    return cost_of_graphs(graphs_without_weights(checkpoint))


def cost_of_graphs(graphs: Mapping[str, Graph]) -> PolicyCost:
    """The cost of one inference from the graphs of its stages."""
    operations: Counter[str] = Counter()
    predicted_ms: dict[str, dict[str, float]] = {name: {} for name in DEVICES}
    for device, precision in product(DEVICES.values(), PRECISIONS):
        costs = {stage: costs_of_graph(graphs[stage], device, precision) for stage in INFERENCE}
        predicted_ms[device.name][precision] = 1e3 * sum(c.predicted_s for found in costs.values() for c in found)
    for stage, found in costs.items():
        for cost in found:
            operations[part_of(stage, cost.layer) if stage == "perceive" else _HEAD] += cost.matrix_operations
    return PolicyCost(operations=dict(operations), predicted_ms=predicted_ms)


def student_without_weights(teacher: Checkpoint, spec: StudentSpec, head_steps: int = HEAD_STEPS) -> Checkpoint:
    """The finished student as read from its checkpoint, without weights: its Video Former reads its own features.

    Raises:
        BadInputError: the specification does not fit this teacher.
    """
    unet, vae, config = student_configs(teacher, spec)
    read = feature_channels(unet["block_out_channels"], config.extract_layer, config.all_layers)
    config = replace(
        config,
        former=replace(config.former, channels=read),
        sampler=replace(config.sampler, name="ddim", steps=head_steps),
        distilled_steps=head_steps,
    )
    return replace(
        teacher,
        config=config,
        spec=_spec(teacher.spec, config, unet),
        unet=ModelPart(unet, {}),
        vae=ModelPart(vae, {}),
    )


def _spec(teacher: PolicySpec, config: PolicyConfig, unet: Mapping[str, Any]) -> PolicySpec:
    former = config.former
    pixels = len(teacher.cameras) * feature_pixels(unet, teacher.latent[-1], config.extract_layer)
    return replace(
        teacher,
        frames=former.frames,
        computed_frames=None,
        tokens=(former.frames * (former.queries_per_frame or pixels), former.width),
        sigmas=student_sigmas(config.sampler.steps, teacher.sigmas),
        sampler=config.sampler.name,
    )
