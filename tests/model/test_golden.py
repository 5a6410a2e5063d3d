"""The eager policy against the reference implementation, stage by stage: each stage is fed with reference inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from material import Golden

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.tolerances import TOLERANCES, Limit
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.export.tokenizer import load_tokenizer, text_inputs
from vpp_edge.model.former import tokens_from_views
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.spec.policy import PolicySpec

# Outputs as they are promised; what lies between them passes no more layers than the tokens do.
ALLOWED = {name: limit.value for name, limit in TOLERANCES["fp32"].items()} | {
    "image_latents": 1e-5,
    "features": 1e-4,
    "context": 1e-5,
}


@pytest.fixture(scope="module")
def policy(golden: Golden) -> tuple[VideoPredictionPolicy, PolicySpec]:
    checkpoint = read_checkpoint(paths_from_folder(golden.checkpoint))
    return policy_from_checkpoint(checkpoint), checkpoint.spec


def check(found: torch.Tensor, reference: np.ndarray, tolerance: str) -> None:
    errors = compare(found.detach().numpy(), reference)
    assert Limit("max_relative", ALLOWED[tolerance]).allows(errors), f"{tolerance} {tuple(found.shape)}: {errors}"


def given(golden: Golden, case: str, name: str) -> torch.Tensor:
    return torch.from_numpy(golden.arrays[f"{case}/{name}"])


def test_text(golden: Golden, policy: tuple[VideoPredictionPolicy, PolicySpec]) -> None:
    model, spec = policy
    tokenizer = load_tokenizer(golden.checkpoint / "clip")
    for case in golden.cases:
        hidden, goal = model.encode_text(*text_inputs(tokenizer, spec, golden.instruction(case)))
        check(hidden, golden.arrays[f"{case}/text_hidden"], "text_hidden")
        check(goal, golden.arrays[f"{case}/text_embed"], "goal")


@torch.no_grad()
def test_images_and_features(golden: Golden, policy: tuple[VideoPredictionPolicy, PolicySpec]) -> None:
    video = policy[0].video
    frames = given(golden, "0", "frames")
    check(video.encode_images(frames), golden.arrays["0/image_latents"], "image_latents")
    features = video(frames, given(golden, "0", "text_hidden"), given(golden, "0", "video_noise"))
    check(features, golden.arrays["0/features"], "features")


@torch.no_grad()
def test_tokens(golden: Golden, policy: tuple[VideoPredictionPolicy, PolicySpec]) -> None:
    features = tokens_from_views(given(golden, "0", "features"))
    check(policy[0].former(features[None]), golden.arrays["0/tokens"], "tokens")


@torch.no_grad()
def test_context_and_actions(golden: Golden, policy: tuple[VideoPredictionPolicy, PolicySpec]) -> None:
    model = policy[0]
    for case in golden.cases:
        proprio = given(golden, case, "proprio") if f"{case}/proprio" in golden.arrays else None
        tokens, goal = given(golden, case, "tokens"), given(golden, case, "text_embed")
        check(model.head.encode(tokens, goal, proprio), golden.arrays[f"{case}/context"], "context")
        actions = model.act(tokens, goal, proprio, given(golden, case, "action_noise"))
        check(actions, golden.arrays[f"{case}/actions"], "actions")
