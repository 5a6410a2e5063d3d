"""What 2:4 sparse weights cost the demo policy, without training and with: writes the table of docs/distillation.md.

    OMP_NUM_THREADS=1 nice python benchmarks/sparsity.py --steps 200 --episodes 100 --write docs/distillation.md

The weights of UNet and encoder are made sparse, and then trained on the features that the dense ones compute of the
simulated expert's observations. Errors are over other observations, each with the noise of the dense policy.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from approximations import act, cells, perceive, row, worst
from documents import put_table
from safetensors.torch import load_file, save_file
from torch import Tensor

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.reference import Reference
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.demo.observations import expert_observations
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.sparsity import SparseTraining, make_sparse
from vpp_edge.export.exporter import PROGRESS_STAGES, export_bundle
from vpp_edge.export.parity import references_from_policy
from vpp_edge.export.tokenizer import load_tokenizer
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.model.tvp import VideoPredictionModel
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.handover_modes import NAIVE
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate, progress_stages
from vpp_edge.workflow.closed_loop.players import PlayerChoice
from vpp_edge.workflow.closed_loop.summary import summary_of

TRAINING, HELD_OUT = 64, 8  # observations
BATCH = 2
WEIGHTS = "diffusion_pytorch_model.safetensors"

SHIPPED = POLICIES[DEMO].folder


class Comparing:
    """The dense policy, and what it computes of observations."""

    def __init__(self, episodes: int) -> None:
        checkpoint = read_checkpoint(paths_from_folder(SHIPPED), Choices())
        self.dense, self.episodes = policy_from_checkpoint(checkpoint), episodes
        tokenizer = load_tokenizer(checkpoint.paths.text_encoder)
        self.seen, self.held_out = (
            references_from_policy(self.dense, checkpoint.spec, tokenizer, observations.samples)
            for observations in (
                expert_observations(checkpoint.spec, TRAINING, seed=5),
                expert_observations(checkpoint.spec, HELD_OUT, seed=6),
            )
        )

    def line(self, name: str, policy: VideoPredictionPolicy, folder: Path) -> str:
        tokens = [(perceive(policy, r), r) for r in self.held_out]
        token_error = worst(compare(found, r.outputs["tokens"]) for found, r in tokens)
        action_error = worst(compare(act(policy, r, found), r.outputs["actions"]) for found, r in tokens)
        bundle = exported(policy.video, folder)
        choice = PlayerChoice(str(bundle.path))
        settings = EvalSettings(self.episodes, chunking=NAIVE)
        with Progress(name, progress_stages(choice, settings)) as progress:
            rate = summary_of(evaluate(choice, settings, report=progress)).rate
        share = f"{100 * bundle.stage('perceive').sparse_share:.1f} %"
        return row([name, share, cells(token_error)[0], cells(action_error)[0], rate])

    def trained(self, video: VideoPredictionModel, steps: int, folder: Path) -> VideoPredictionModel:
        """A copy with sparse weights, trained to the features of `video`."""
        student = copy.deepcopy(video).requires_grad_(True)

        def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
            losses = []
            for number in (int(random.integers(len(self.seen))) for random in randoms):
                wanted = features(video, self.seen[number]).detach()
                losses.append((features(student, self.seen[number]) - wanted).square().mean() / wanted.var())
            return torch.stack(losses).mean()

        training = SparseTraining(student.unet, student.encoder)
        schedule = Schedule(steps=steps, rate=5e-4, batch=BATCH, warm_up=steps // 10)
        with Progress("train", [("video", 2.0 * steps)]) as progress:
            train("video", {"video": student}, loss_of, schedule, Trainer(folder=folder, seed=0, report=progress))
        training.finish()
        return student.eval().requires_grad_(False)


def features(video: VideoPredictionModel, reference: Reference) -> Tensor:
    given = reference.inputs["perceive"]
    return video(*(torch.from_numpy(given[n]) for n in ("frames", "text_hidden", "video_noise")))


def exported(video: VideoPredictionModel, folder: Path) -> Bundle:
    """A bundle of the demo policy with this video model."""
    checkpoint = folder / "checkpoint"
    shutil.copytree(SHIPPED, checkpoint)
    vae = load_file(SHIPPED / "svd" / "vae" / WEIGHTS)
    vae |= {f"encoder.{name}": tensor for name, tensor in video.encoder.network.state_dict().items()}
    for part, tensors in (("unet", video.unet.state_dict()), ("vae", vae)):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, checkpoint / "svd" / part / WEIGHTS)
    with Progress("export", PROGRESS_STAGES) as progress:
        export_bundle(paths_from_folder(checkpoint), folder / "bundle", report=progress)
    return Bundle(folder / "bundle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help=f"training steps of {BATCH} observations (200)")
    parser.add_argument("--episodes", type=int, default=100, help="simulated episodes per row (100)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table into this document")
    arguments = parser.parse_args()
    comparing = Comparing(arguments.episodes)
    dense = comparing.dense
    lines = [
        "| weights of UNet and encoder | products that are 2:4 | tokens: RMS | actions: RMS | success, 95 % interval |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one_shot = copy.deepcopy(dense.video)
        for module in (one_shot.unet, one_shot.encoder):
            make_sparse(module)
        variants = (
            ("dense", lambda: dense.video),
            ("2:4, not trained", lambda: one_shot),
            (f"2:4, {arguments.steps} steps", lambda: comparing.trained(dense.video, arguments.steps, folder)),
        )
        for number, (label, video) in enumerate(variants):
            place = folder / str(number)
            place.mkdir()
            lines.append(comparing.line(label, replace(dense, video=video()), place))
            print("\n".join(lines), flush=True)
    if arguments.write is not None:
        put_table(arguments.write, "sparsity.py", "\n".join(lines))


if __name__ == "__main__":
    main()
