"""What a student costs is known before it is trained, and the shipped ones keep within their limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.checkpoint.untrained import RELEASED_XHAND
from vpp_edge.checkpoint.without_weights import checkpoint_without_weights
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.export.distill.student import former_start, student_start
from vpp_edge.export.distill.student_spec import TINY, EncoderSpec, StudentSpec, student_spec
from vpp_edge.export.distill.student_writer import Student, write_student
from vpp_edge.profile.roofline.prediction import graphs_of_bundle
from vpp_edge.workflow.student_plan import (
    PolicyCost,
    cost_of_graphs,
    cost_of_policy,
    plan_of_student,
    student_without_weights,
)

FULL_SIZE = {"orin-agx": ("orin-agx-64gb", 28), "orin-nx": ("orin-nx-16gb", 50), "orin-nano": ("orin-nano-super", 50)}
WIDTH = 16
SPEC = StudentSpec(frames=8, encoder=EncoderSpec(TINY, (WIDTH,) * 4, (0, 1, 1, 1)))

SHIPPED = POLICIES[DEMO].folder


@pytest.fixture(scope="module")
def teacher(small_checkpoint: Path) -> Checkpoint:
    return read_checkpoint(paths_from_folder(small_checkpoint), Choices())


def test_its_sizes_are_those_of_the_student_that_is_written(teacher: Checkpoint, tmp_path: Path) -> None:
    planned, start = student_without_weights(teacher, SPEC, head_steps=2), student_start(teacher, SPEC)
    latents = start.config.former.frames * start.config.former.queries_per_frame
    student = Student(
        unet=start.unet,
        vae=start.vae,
        former=former_start(teacher.former, start.stride),
        head=teacher.head,
        model={"num_latents": latents, "Former_num_time_embeds": 8, "num_sampling_steps": 2, "sigma_min": 0.3},
        card={"head_steps": 2},
    )
    write_student(teacher, student, tmp_path / "student")
    read = read_checkpoint(paths_from_folder(tmp_path / "student"), Choices())
    sampler = replace(read.config.sampler, sigma_min=teacher.config.sampler.sigma_min)
    assert replace(read.config, sampler=sampler) == planned.config
    assert replace(read.spec, sigmas=(), notes=()) == replace(planned.spec, sigmas=(), notes=())
    assert planned.spec.sigmas == pytest.approx(read.spec.sigmas)


def test_a_plan_says_what_the_student_saves(teacher: Checkpoint, small_bundle: Path) -> None:
    whole = cost_of_graphs(graphs_of_bundle(Bundle(small_bundle)))
    plan = plan_of_student(teacher, SPEC, teacher_cost=whole)
    views, side = len(teacher.spec.cameras), teacher.spec.cameras[0].width
    block = 9 * WIDTH * WIDTH
    macs = side**2 * 9 * 3 * WIDTH + sum((side >> i) ** 2 * 4 * block for i in (1, 2, 3))  # halving, three in a block
    macs += (side >> 3) ** 2 * 9 * WIDTH * teacher.spec.latent[0]
    assert plan.student.operations["VAE encoder"] == 2 * views * macs
    shares = plan.shares()
    assert set(shares) == {"UNet", "VAE encoder", "Video Former", "action head"}
    assert 0.45 < shares["UNet"] < 0.55 and 0.45 < shares["Video Former"] < 0.55
    card = json.loads(json.dumps(plan.to_json()))
    assert card["predicted"] and not card["measured"]
    assert set(card["latency_ms"]["orin-agx-64gb"]) == {"fp16", "int8"}
    assert all(card["latency_ms"][d][p] < ms for d, found in whole.predicted_ms.items() for p, ms in found.items())
    printed = "\n".join(plan.lines())
    assert "predicted ms, not measured" in printed and f"{card['latency_ms']['orin-nx-16gb']['int8']:.2f}" in printed


@pytest.fixture(scope="module")
def full_size() -> Checkpoint:
    return checkpoint_without_weights(RELEASED_XHAND)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_shipped_student_has_two_steps_and_fewer_frames(full_size: Checkpoint, name: str) -> None:
    student = student_without_weights(full_size, student_spec(name))
    assert student.spec.video_noise_shape[1] == student.unet.config["num_frames"] == 8
    assert len(student.spec.sigmas) == 3
    assert student.config.former.channels == student.unet.config["block_out_channels"][-2]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "device", "limit_ms"), [(name, *found) for name, found in FULL_SIZE.items()])
def test_a_shipped_student_keeps_within_its_limit(
    full_size: Checkpoint, name: str, device: str, limit_ms: float
) -> None:
    cost: PolicyCost = cost_of_policy(student_without_weights(full_size, student_spec(name)))
    assert 0.8 * limit_ms < cost.predicted_ms[device]["int8"] < 0.95 * limit_ms  # no smaller than it must be


@pytest.mark.slow
def test_the_demo_s_student_has_the_shares_that_it_states() -> None:
    demo = read_checkpoint(paths_from_folder(SHIPPED), Choices())
    shares = plan_of_student(demo, student_spec("demo")).shares()
    assert shares["UNet"] <= 0.3 and shares["VAE encoder"] <= 0.2
