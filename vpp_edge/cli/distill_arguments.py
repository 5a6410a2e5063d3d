"""Options of everything that makes students: `distill`, and `sweep`, which makes many."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vpp_edge.cli.calibration_arguments import names_from_text
from vpp_edge.cli.checkpoint_arguments import choices_from_arguments
from vpp_edge.cli.numbers import Number
from vpp_edge.export.distill.training_options import (
    OPTIMIZERS,
    PATIENCE,
    PRECISIONS,
    RATE,
    TRAINING_STEPS,
    TrainingOptions,
)
from vpp_edge.number_range import COUNT, SEED
from vpp_edge.workflow.distill_options import DISK_LIMIT_GIB, DistillOptions

_OF_THE_VIDEO_MODEL = (
    "steps", "batch", "rate", "accumulate", "mixed_precision", "optimizer", "patience",
    "gradient_checkpointing", "sparse",
)  # fmt: skip


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --data."""
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DATASET",
        help="recordings of the robot (layouts: vpp-edge calibrate --help); give it again for more to train on, "
        "such as recordings of a student's runs",
    )


def add_amounts(parser: argparse.ArgumentParser) -> None:
    """Adds how much is learnt from, and how long."""
    default, training = DistillOptions, TrainingOptions
    numbers = (
        ("--observations", COUNT, default.observations, "observations to train on"),
        ("--held-out-samples", COUNT, default.held_out, "observations to measure on"),
        ("--head-training-steps", TRAINING_STEPS, training.head_steps, "training steps of the action head"),
        ("--seed", SEED, default.seed, "seed of noise, prefixes, batches and episodes"),
    )
    for option, within, value, meaning in numbers:
        parser.add_argument(option, type=Number(within), default=value, metavar="N", help=f"{meaning} ({value:g})")
    parser.add_argument(
        "--disk-limit",
        type=Number(DISK_LIMIT_GIB),
        default=default.disk_limit_gib,
        metavar="GIB",
        help=f"most that the teacher's outputs may take ({default.disk_limit_gib:g})",
    )


def add_video_arguments(parser: argparse.ArgumentParser, title: str) -> None:
    """Adds how a student's video model is trained, as a group with this title."""
    training, group = TrainingOptions, parser.add_argument_group(title)
    numbers = (
        ("--steps", TRAINING_STEPS, training.steps, "optimizer steps"),
        ("--batch", COUNT, training.batch, "observations in a step, over all processes"),
        ("--rate", RATE, training.rate, "learning rate"),
        (
            "--accumulate",
            COUNT,
            training.accumulate,
            "parts a process computes its share of a batch in, to save memory",
        ),
        (
            "--patience",
            PATIENCE,
            training.patience,
            "judgements without a better one until it ends early, 0: never",
        ),
    )
    for option, within, value, meaning in numbers:
        group.add_argument(option, type=Number(within), metavar="N", help=f"{meaning} ({value:g})")
    words = (
        ("--mixed-precision", PRECISIONS, training.mixed_precision, "precision of products"),
        ("--optimizer", OPTIMIZERS, training.optimizer, "adamw8bit keeps its state in 8 bits (bitsandbytes)"),
    )
    for option, known, usual, meaning in words:
        group.add_argument(option, choices=known, help=f"{meaning} ({usual})")
    flags = (
        ("--gradient-checkpointing", "compute activations again for the gradient, to save memory"),
        ("--sparse", "make its weights 2:4 sparse"),
    )
    for option, meaning in flags:
        group.add_argument(option, action="store_const", const=True, help=meaning)


def given_of_video(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the training of the video model that were given, by name."""
    return {name: value for name in _OF_THE_VIDEO_MODEL if (value := getattr(arguments, name)) is not None}


def distill_options(arguments: argparse.Namespace, log_with: str | None = None) -> DistillOptions:
    """What the options of this module, --data, --views and --student say."""
    return DistillOptions(
        datasets=tuple(arguments.data or ()),
        choices=choices_from_arguments(arguments),
        views=names_from_text(arguments.views),
        student=arguments.student,
        observations=arguments.observations,
        held_out=arguments.held_out_samples,
        disk_limit_gib=arguments.disk_limit,
        training=TrainingOptions(
            head_steps=arguments.head_training_steps, log_with=log_with, **given_of_video(arguments)
        ),
        seed=arguments.seed,
    )
