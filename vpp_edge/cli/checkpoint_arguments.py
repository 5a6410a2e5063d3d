"""Options that say what a trained checkpoint does not state about itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vpp_edge.checkpoint.choices import VIEWS, WEIGHTS, Choices
from vpp_edge.checkpoint.policy_spec import CAMERAS, VARIANTS
from vpp_edge.cli.numbers import Number
from vpp_edge.spec.policy import QUATERNION_ORDERS


def add_checkpoint_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds the options that `choices_from_arguments` reads."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        help="`ema`: averaged weights where the checkpoint has some; `model`: no adapter is merged "
        "(the weights, with a LoRA beside them merged)",
    )
    parser.add_argument("--variant", choices=VARIANTS, help="meaning of the actions (from the checkpoint)")
    views = {variant: len(names) for variant, names in CAMERAS.items()}
    parser.add_argument("--cameras", type=Number(VIEWS), metavar="V", help=f"number of views ({by_variant(views)})")
    parser.add_argument(
        "--quaternion-order",
        choices=QUATERNION_ORDERS,
        default=Choices.quaternion_order,
        help=f"as stored in the state ({Choices.quaternion_order})",
    )
    parser.add_argument(
        "--raw-actions",
        action="store_true",
        help="a real-robot policy without bounds was trained on metres and radians; without this it is refused",
    )


def by_variant(values: Mapping[str, float]) -> str:
    """What differs between variants, for help."""
    return ", ".join(f"{variant}: {value:g}" for variant, value in values.items())


def choices_from_arguments(arguments: argparse.Namespace, **others: Any) -> Choices:
    """The choices of these options, and `others`."""
    return Choices(
        weights=arguments.weights,
        variant=arguments.variant,
        cameras=arguments.cameras,
        quaternion_order=arguments.quaternion_order,
        raw_actions=arguments.raw_actions,
        **others,
    )
