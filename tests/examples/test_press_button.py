"""The two commands of the button example: demonstrations say what the runtime does, and training can be resumed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.untrained import UntrainedSizes
from vpp_edge.runtime.policy.targets import targets_from_actions
from vpp_edge.runtime.sim.expert import chosen_button
from vpp_edge.runtime.sim.task import PRESSED_M, instructions_of
from vpp_edge.runtime.sim.world import depths_of
from vpp_edge.runtime.sim.worlds.kinds import kind_from_name

if any(importlib.util.find_spec(name) is None for name in ("mujoco", "av")):  # importing MuJoCo would choose its GL
    pytest.skip("the demonstrations are simulated with MuJoCo and kept as videos", allow_module_level=True)
EXAMPLE = Path(__file__).parents[2] / "examples" / "press_button"
TINY = UntrainedSizes(
    frames=4,
    channels=(32, 32, 64, 64),
    width=16,
    queries=2,
    depth=1,
    horizon=4,
    corpus=("press the red button",),
)


@pytest.fixture(scope="module")
def example():
    """Imports a module of the example, whose files stand side by side."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def data(example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations")
    for number in range(3):  # 0 is held out
        example("make_data").make_episode(folder, 0, number)
    return folder


def tiny(example, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The training at a size that takes seconds."""
    train, loop = example("train"), example("loop")
    for module in ("train", "checkpoint"):
        monkeypatch.setattr(example(module), "SIZES", TINY)
    for stage in ("IMAGES", "VIDEO", "POLICY"):
        monkeypatch.setattr(train, stage, loop.Schedule(steps=2, rate=1e-3))
    monkeypatch.setattr(train, "OBSERVATIONS", 8)
    monkeypatch.setattr(example("image_stage"), "PICTURES", 16)
    monkeypatch.setattr(example("image_stage"), "CROPS", 2)
    monkeypatch.setattr(example("policy_stage"), "BATCH", 4)
    return train


def test_chunks_become_the_commands_again(example, data: Path, small_bundle: Path) -> None:
    from vpp_edge.bundle.manifest import Bundle

    one = example("demonstrations").read_demonstrations(data)[0]
    spec = Bundle(small_bundle).manifest.policy
    chunks = one.chunks(spec.action.horizon)
    for start in (0, 5, len(one.states) - 1):
        targets = targets_from_actions(spec, chunks[start], one.states[start])
        following = np.minimum(start + 1 + np.arange(spec.action.horizon), len(one.states) - 1)
        wanted = one.commands[following]
        same = np.abs((targets[:, 3:7] * wanted[:, 3:7]).sum(axis=1))
        np.testing.assert_allclose(same, 1, atol=1e-9)
        np.testing.assert_allclose(targets[:, :3], wanted[:, :3], atol=1e-12)
        np.testing.assert_allclose(targets[:, 7:], wanted[:, 7:], atol=1e-12)


def test_a_demonstration_is_made_once_and_the_same_every_time(example, data: Path, tmp_path: Path) -> None:
    example("make_data").make_episode(tmp_path, 0, 1)
    path = Path("annotation") / "train" / "1.json"
    assert (tmp_path / path).read_bytes() == (data / path).read_bytes()


@pytest.mark.parametrize("world", ["turntable", "either"])
def test_the_demonstrated_states_of_every_world_lead_to_a_button(example, world: str) -> None:
    make_data = example("make_data")
    for seed in range(make_data.FIRST_SEED, make_data.FIRST_SEED + 4):
        shown = make_data.demonstration(seed, kind_from_name(world))
        assert shown is not None and len(shown.states) == len(shown.commands) == len(shown.scenes)
        pressed = depths_of(shown.scenes[-1]) > PRESSED_M
        assert [i for i in range(4) if pressed[i]] == [chosen_button(shown.episode)]


@pytest.mark.parametrize("seed", ["-1", "10"])
def test_the_worlds_of_evaluation_and_calibration_are_not_demonstrated(
    example, seed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_data", "nowhere", "--seed", seed])
    with pytest.raises(SystemExit):
        example("make_data").main()
    assert "expected a whole number from 0 to 9" in capsys.readouterr().err


def test_the_text_encoder_tells_every_instruction_of_two_worlds_from_every_other(example, tmp_path: Path) -> None:
    train, checkpoint = example("train"), example("checkpoint")
    spoken = [text for world in ("turntable", "either") for text in instructions_of(kind_from_name(world))]
    folder, (state, action) = checkpoint.CheckpointFolder(tmp_path / "untrained"), (19, 18)
    sizes = replace(checkpoint.SIZES, corpus=tuple(spoken))
    folder.create(sizes, 0, *(([0.0] * dims, [1.0] * dims) for dims in (state, action)))
    text, texts = folder.text(), folder.texts(spoken)
    example("text_stage").train_text(text, texts, train.TEXT, folder=tmp_path, seed=0)
    with torch.no_grad():
        for vectors in (texts.goals(text), texts.hidden(text).flatten(1)):
            apart = torch.nn.functional.pdist(vectors)
            assert apart.min() > 0.7 * apart.max()  # not two groups, alike within each


@pytest.mark.slow
def test_one_policy_is_trained_on_two_worlds_and_one_on_features_of_one_frame(
    example, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    either = tmp_path / "either"
    for number in range(2):
        example("make_data").make_episode(either, 0, number, "either")
    train = tiny(example, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["train", str(data), str(either), str(tmp_path / "out"), "--ablation-no-time"])
    train.main()
    policy, alone = (
        read_checkpoint(paths_from_folder(tmp_path / "out" / name)) for name in ("checkpoint", "ablation-no-time")
    )
    assert (policy.spec.frames, alone.spec.frames) == (TINY.frames, 1)
    assert alone.former["latents"].shape[0] == alone.unet.config["num_frames"] == 1
    assert policy.spec.action == alone.spec.action
    words = (tmp_path / "out" / "checkpoint" / "clip" / "tokenizer.json").read_text()
    assert '"either</w>"' in words and '"press</w>"' in words


@pytest.mark.slow
def test_training_gives_a_checkpoint_that_is_read_and_goes_on_where_it_was(
    example, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = tiny(example, monkeypatch)
    policies = []
    for out, stops in ((tmp_path / "whole", False), (tmp_path / "stopped", True)):
        monkeypatch.setattr(sys, "argv", ["train", str(data), str(out)])
        if stops:
            monkeypatch.setattr("vpp_edge.export.distill.loop.SAVE_S", 0.0)
            stop_after_a_step(example, monkeypatch)
            with pytest.raises(KeyboardInterrupt):
                train.main()
            monkeypatch.undo()
            train = tiny(example, monkeypatch)
            monkeypatch.setattr(sys, "argv", ["train", str(data), str(out)])
        train.main()
        policies.append(read_checkpoint(paths_from_folder(out / "checkpoint")))
    whole, stopped = policies
    assert whole.spec == stopped.spec and whole.spec.frames == TINY.frames
    for part in ("former", "head"):
        for name, tensor in getattr(whole, part).items():
            torch.testing.assert_close(getattr(stopped, part)[name], tensor)


def stop_after_a_step(example, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second step of the video stage."""
    stage = example("video_stage")
    real, calls = stage.Clips.futures, []

    def futures(self, *arguments):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(stage.Clips, "futures", futures)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_quick_products_give_the_gradients_of_a_convolution_over_time(example, frames: int) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Conv3d(32, 32, (3, 1, 1), padding=(1, 0, 0)), torch.randn(2, 32, frames, 4, 4)
    (expected,) = torch.autograd.grad(layer(x).square().mean(), layer.weight)
    with example("loop").quick_products(frames):
        y = layer(x)
    (found,) = torch.autograd.grad(y.float().square().mean(), layer.weight)
    assert (found - expected).norm() <= 0.02 * expected.norm()  # bfloat16 has 8 bits; 0.25 % was measured


def test_a_policy_begins_with_features_that_differ_in_all_directions_alike(example) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(8, 512), torch.nn.GELU(), torch.nn.Linear(512, 16))
    scales = torch.logspace(0, -1.5, 8)  # what matters may hardly differ beside what all share
    vectors = 5 + torch.randn(2000, 8) * scales
    example("policy_stage")._begin_embedding(layers, vectors)
    per_unit = (layers[0].weight * scales).square().sum(dim=0)
    assert per_unit.max() < 2 * per_unit.min()
    assert 0.5 < layers(vectors).std(dim=0).mean() < 2
    few = torch.randn(4, 8) * 0.01 + 3
    example("policy_stage")._begin_embedding(layers, few)
    assert layers(few).std(dim=0).mean() > 0.5
