"""How a student is trained. Imports neither numpy nor torch, so that a command can use it."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT, above, whole

TRAINING_STEPS = whole(1, 10_000_000)
RATE = above(0, 1)
PATIENCE = whole(0, 10_000)
PRECISIONS = ("no", "bf16")
OPTIMIZERS = ("adamw", "adamw8bit")
LOGS = ("tensorboard", "trackio")


@dataclass(frozen=True)
class TrainingOptions:
    """How a student is trained.

    Attributes:
        steps, batch, rate: of the video model: optimizer steps, observations in each over all processes, highest
            learning rate.
        head_steps: optimizer steps of the action head.
        accumulate: parts that each process computes its share of a batch in, one after another, to save memory.
        gradient_checkpointing: compute activations again for the gradient instead of keeping them.
        mixed_precision: `bf16`: products in bfloat16.
        optimizer: `adamw`, or `adamw8bit` of bitsandbytes, which keeps its state in 8 bits.
        patience: judgements on held-out observations without a better one until the training ends; 0: to the last step.
        log_with: `tensorboard` or `trackio`; None: no log.
        sparse: make the weights of the video model 2:4 sparse.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 1e-3
    head_steps: int = 2000
    accumulate: int = 1
    gradient_checkpointing: bool = False
    mixed_precision: str = "no"
    optimizer: str = "adamw"
    patience: int = 0
    log_with: str | None = None
    sparse: bool = False

    def __post_init__(self) -> None:
        TRAINING_STEPS.check("steps", self.steps)
        TRAINING_STEPS.check("head_steps", self.head_steps)
        COUNT.check("batch", self.batch)
        RATE.check("rate", self.rate)
        COUNT.check("accumulate", self.accumulate)
        PATIENCE.check("patience", self.patience)
        for name, known in (("mixed_precision", PRECISIONS), ("optimizer", OPTIMIZERS), ("log_with", (None, *LOGS))):
            if getattr(self, name) not in known:
                raise BadInputError(f"{name} {getattr(self, name)!r}; expected one of {', '.join(map(str, known))}")
