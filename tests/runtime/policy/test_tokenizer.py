"""Token ids of the runtime against transformers' CLIPTokenizer, which is used in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from material import GOLDEN

from vpp_edge.errors import BadInputError
from vpp_edge.export.tokenizer import load_tokenizer, write_tokenizer
from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer

TEXTS = [
    "Move the mango to the basket.",
    "  PICK   up the\tred block\n",
    "a",
    "über-Größe, naïve café: 12.5 % of 3/4 — “quoted” 🤖 手",
    "pour orange juice into the cup " * 12,
    "it's the robot's don't !!! ???",
    "<|endoftext|> in the middle <|startoftext|>",
    "ﬁne ligatures ½",
]


@pytest.mark.parametrize("length", [20, 77])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("vocabulary", ["clip", "bytes"])
def test_ids_and_masks_equal_those_of_training(
    text: str, length: int, vocabulary: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    folder = GOLDEN / "tokenizer" if vocabulary == "clip" else small_checkpoint / "clip"
    if not folder.is_dir():
        pytest.skip(f"no CLIP vocabulary at {folder}; it is kept beside the repository")
    theirs = load_tokenizer(folder)
    write_tokenizer(theirs, tmp_path / "tokenizer.json")
    ours = InstructionTokenizer((tmp_path / "tokenizer.json").read_bytes(), theirs.pad_token_id)
    encoded = theirs(text, padding="max_length", truncation=True, max_length=length)
    ids, mask = ours.encode(text, length)
    assert ids.dtype == mask.dtype == np.int64
    np.testing.assert_array_equal(ids[0], encoded.input_ids)
    np.testing.assert_array_equal(mask[0], encoded.attention_mask)


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_an_empty_instruction_is_rejected(text: str, small_bundle: Path) -> None:
    tokenizer = InstructionTokenizer((small_bundle / "tokenizer.json").read_bytes(), 0)
    with pytest.raises(BadInputError, match="the instruction is empty"):
        tokenizer.encode(text, 20)
