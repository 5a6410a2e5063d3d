"""Trains the policy of the button task in the stages of VPP: from demonstrations to a checkpoint to export.

    python train.py DATA... OUT [--seed 0] [--ablation] [--ablation-no-time]

OUT/checkpoint is the policy, one for the worlds of all DATA folders. An interrupted run resumes where it stopped. Two
more policies, trained the same way on other features, show what prediction contributes: OUT/ablation on those of an
untrained video model, OUT/ablation-no-time on those of the trained one for the present frame only.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from checkpoint import SIZES, CheckpointFolder
from demonstrations import Demonstration, bounds, read_demonstrations
from image_stage import latents_of, save_reconstructions, train_images
from kept import kept_tensor
from loop import Schedule
from policy_stage import Samples, features_of, train_policy
from text_stage import train_text
from video_stage import Clips, Texts, save_prediction, train_video
from vpp_edge.checkpoint.untrained import UntrainedSizes
from vpp_edge.runtime.sim.task import instructions_of
from vpp_edge.runtime.sim.worlds.kinds import KINDS
from vpp_edge.spec.normalization import bounds_arrays, normalized_from_state

TEXT = Schedule(steps=100, rate=1e-3)
IMAGES = Schedule(steps=3000, rate=1e-3)
VIDEO = Schedule(steps=3000, rate=1e-3)  # or --video-steps
STRIDE = 4  # demonstration frames per predicted frame, or --stride
POLICY = Schedule(steps=2500, rate=5e-4)  # of each world that is learnt
OBSERVATIONS = 14_000  # training frames of the policy, of each world
PICTURED, BEGUN = 6, 4  # futures are predicted for 6 held-out demonstrations, from their fifth frame on
LEAST_BOUNDS = 0.02  # m or rad: normalization must not amplify what hardly moves


@dataclass(frozen=True)
class Run:
    """What all stages share.

    Attributes:
        worlds: data sets that are learnt; the policy sees as much of each as it would of one alone.
        stride: demonstration frames per predicted frame.
        video_steps: of training the video model.
    """

    sizes: UntrainedSizes
    shown: list[Demonstration]
    held_out: list[Demonstration]
    worlds: int
    stride: int
    video_steps: int
    work: Path
    seed: int

    @cached_property
    def instructions(self) -> list[str]:
        return sorted({one.instruction for one in self.shown + self.held_out})


def main() -> None:
    parser = argparse.ArgumentParser(description="train the policy of the button task")
    parser.add_argument("data", type=Path, nargs="+", help="folders that make_data.py wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video-steps", type=int, default=VIDEO.steps, help=f"of the video model ({VIDEO.steps})")
    parser.add_argument(
        "--stride", type=int, default=STRIDE, help=f"0.1 s from one predicted frame to the next ({STRIDE})"
    )
    parser.add_argument("--ablation", action="store_true", help="also train on features of an untrained video model")
    parser.add_argument("--ablation-no-time", action="store_true", help="also train on features of one frame only")
    parser.add_argument("--threads", type=int, help="CPU threads (all)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    begun = time.monotonic()
    each = -(-PICTURED // len(arguments.data))
    held_out = [one for data in arguments.data for one in read_demonstrations(data, "val")[:each]]
    shown = [one for data in arguments.data for one in read_demonstrations(data)]
    run = Run(
        sizes_for(shown + held_out),
        shown,
        held_out,
        worlds=len(arguments.data),
        stride=arguments.stride,
        video_steps=arguments.video_steps,
        work=arguments.out / "work",
        seed=arguments.seed,
    )
    run.work.mkdir(parents=True, exist_ok=True)
    untrained = first_checkpoint(run, arguments.out / "untrained")
    trained = CheckpointFolder(arguments.out / "checkpoint")
    clips, texts = train_video_model(run, untrained, trained)
    train_on_features(run, trained, clips, texts, work=run.work)
    if arguments.ablation:
        ablation = CheckpointFolder(arguments.out / "ablation")
        ablation.copy_of(trained)
        ablation.put_unet(untrained.unet())
        train_on_features(run, ablation, clips, texts, work=run.work / "ablation")
    if arguments.ablation_no_time:
        no_time = one_frame_of(run, trained, arguments.out / "ablation-no-time")
        train_on_features(run, no_time, clips, texts, work=run.work / "ablation-no-time")
    print(f"trained in {(time.monotonic() - begun) / 60:.0f} min: {trained.folder}")


def sizes_for(shown: list[Demonstration]) -> UntrainedSizes:
    """SIZES, with the instructions of all worlds that are shown as the corpus of the tokenizer."""
    spoken = {one.instruction for one in shown}
    known = [instructions_of(kind) for kind in KINDS]
    return replace(SIZES, corpus=tuple(dict.fromkeys(text for texts in known if spoken & {*texts} for text in texts)))


def first_checkpoint(run: Run, folder: Path) -> CheckpointFolder:
    """A policy of the right sizes and normalization bounds, with random weights."""
    untrained = CheckpointFolder(folder)
    if not folder.exists():
        state = bounds([d.states for d in run.shown], LEAST_BOUNDS)
        action = bounds([d.chunks(run.sizes.horizon) for d in run.shown], LEAST_BOUNDS)
        untrained.create(run.sizes, run.seed, state, action)
    return untrained


def one_frame_of(run: Run, trained: CheckpointFolder, folder: Path) -> CheckpointFolder:
    """The trained video model as one of a single frame, the present one, with an untrained policy for its features."""
    one = first_checkpoint(replace(run, sizes=replace(run.sizes, frames=1)), folder)
    unet = trained.unet()
    unet.register_to_config(num_frames=1)
    one.put_unet(unet)
    one.put_vae(trained.vae())
    one.put_text(trained.text().encoder)
    return one


def train_video_model(run: Run, untrained: CheckpointFolder, trained: CheckpointFolder) -> tuple[Clips, Texts]:
    """Stages 0 and 1: writes video model and text encoder of `trained`; its policy is still random."""
    vae, unet, text = untrained.vae(), untrained.unet(), untrained.text()
    train_images(vae, run.shown, run.sizes.image, IMAGES, folder=run.work, seed=run.seed)
    quality = save_reconstructions(vae, run.shown[0], run.sizes.image, run.work / "images.png")
    print(f"images are reconstructed at {quality:.1f} dB, scaling factor {vae.config.scaling_factor}")
    texts = untrained.texts(run.instructions)
    train_text(text, texts, TEXT, folder=run.work, seed=run.seed)
    latents = kept_tensor(run.work / "latents.npy", lambda: latents_of(vae, run.shown, run.sizes.image))
    clips = clips_of(run, run.shown, latents)
    scheduler = untrained.scheduler()
    scheduler.set_timesteps(20)
    with torch.no_grad():
        hidden = texts.hidden(text)
    train_video(
        unet,
        clips,
        hidden,
        scale=vae.config.scaling_factor,
        first_sigma=float(scheduler.sigmas[0]),
        schedule=replace(VIDEO, steps=run.video_steps),
        folder=run.work,
        seed=run.seed + 1,
    )
    unseen = clips_of(run, run.held_out, latents_of(vae, run.held_out, run.sizes.image))
    begins = np.array([first + BEGUN for first in np.unique(unseen.last, return_index=True)[1]])
    futures = unseen.futures(begins, np.arange(len(begins)) % 2, run.sizes.frames)
    text_of_each = hidden[torch.from_numpy(unseen.texts[begins])]
    save_prediction(unet, vae, scheduler, hidden=text_of_each, real=futures, file=run.work / "video.png")
    trained.copy_of(untrained)
    trained.put_unet(unet)
    trained.put_vae(vae)
    trained.put_text(text.encoder)
    return clips, texts


def clips_of(run: Run, shown: list[Demonstration], latents: Tensor) -> Clips:
    """The clips of demonstrations, given the latents of all their frames in order."""
    lengths = [len(one.states) for one in shown]
    texts = [run.instructions.index(one.instruction) for one in shown]
    last = np.repeat(np.cumsum(lengths) - 1, lengths)
    return Clips(latents=latents, last=last, texts=np.repeat(texts, lengths), stride=run.stride)


def train_on_features(run: Run, folder: CheckpointFolder, clips: Clips, texts: Texts, work: Path) -> None:
    """Stage 2 on the video model of `folder`; writes its policy.pt."""
    work.mkdir(exist_ok=True)
    policy, spec, config = folder.policy()
    random = np.random.default_rng((run.seed, 20))
    chosen = np.sort(random.permutation(clips.moving())[: OBSERVATIONS * run.worlds])
    numbers = torch.from_numpy(clips.texts[chosen])
    with torch.no_grad():
        hidden, goals = texts.hidden(policy.text), texts.goals(policy.text)
    low, high = bounds_arrays(spec.action.bounds)
    chunks = np.concatenate([d.chunks(run.sizes.horizon) for d in run.shown])[chosen]
    states = np.concatenate([d.states for d in run.shown])[chosen]
    latents = clips.latents[torch.from_numpy(chosen)]
    samples = Samples(
        kept_tensor(work / "features.npy", lambda: features_of(policy.video, latents, hidden[numbers], run.seed)),
        goals[numbers],
        torch.from_numpy(np.stack([normalized_from_state(spec, state) for state in states])),
        torch.from_numpy((2 * (chunks - low) / (high - low) - 1).astype(np.float32)),
    )
    schedule = replace(POLICY, steps=POLICY.steps * run.worlds)
    train_policy(policy.former, policy.head, samples, config.sampler, schedule=schedule, folder=work, seed=run.seed + 2)
    folder.put_policy(policy.former, policy.head)


if __name__ == "__main__":
    main()
