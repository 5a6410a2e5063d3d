"""The tokenizer of a bundle: load it from the text encoder's folder, write tokenizer.json, tokenize as in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vpp_edge.errors import CheckpointError
from vpp_edge.spec.instruction import warn_if_truncated
from vpp_edge.spec.policy import PolicySpec


def load_tokenizer(folder: Path) -> Any:
    """transformers' fast CLIP tokenizer of a folder with tokenizer.json, or vocab.json and merges.txt.

    Raises:
        CheckpointError: the files are missing or damaged.
    """
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: tokenizer not readable ({error}). Download or copy the folder again."
        ) from error


def write_tokenizer(tokenizer: Any, path: Path) -> None:
    """Writes the tokenizer's definition, which the runtime reads without transformers."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition["padding"] = definition["truncation"] = None  # the runtime pads and truncates to the policy's lengths
    path.write_text(json.dumps(definition), encoding="utf-8")


def text_inputs(tokenizer: Any, spec: PolicySpec, instruction: str) -> tuple[torch.Tensor, ...]:
    """ids, mask, goal_ids and goal_mask of an instruction, as the training code tokenizes it.

    Warns with a TruncatedInstructionWarning of words that the policy does not read.
    """
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    encoded = [tokenizer(instruction, max_length=length, **options) for length in spec.text_lengths]
    warn_if_truncated(instruction, [each.encodings[0] for each in encoded])
    return tuple(tensor for each in encoded for tensor in (each.input_ids, each.attention_mask))
