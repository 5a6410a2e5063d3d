"""Converts an instruction into CLIP token ids and masks of fixed length, padded as in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vpp_edge.errors import BundleError
from vpp_edge.spec.instruction import checked_instruction

if TYPE_CHECKING:
    from tokenizers import Encoding


class InstructionTokenizer:
    """Tokenizes like transformers' CLIPTokenizer with `padding="max_length", truncation=True`.

    Args:
        definition: content of tokenizer.json.
        pad_token_id: pads ids to the requested length.
    """

    def __init__(self, definition: bytes, pad_token_id: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(definition.decode("utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise BundleError(f"tokenizer.json cannot be read ({error}). Export the bundle again.") from error
        self._tokenizer.no_padding()
        self._pad_token_id = pad_token_id

    def encode(self, text: str, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and mask, (1, length) int64 each; the mask is 1 for the text with its start and end token.

        Raises:
            BadInputError: as `checked_instruction`.
        """
        tokens = self.tokens(text, length).ids
        ids = np.full((1, length), self._pad_token_id, dtype=np.int64)
        mask = np.zeros((1, length), dtype=np.int64)
        ids[0, : len(tokens)] = tokens
        mask[0, : len(tokens)] = 1
        return ids, mask

    def tokens(self, text: str, length: int) -> Encoding:
        """The at most `length` tokens that are read, and as `overflowing` the others; raises as `encode`."""
        self._tokenizer.enable_truncation(max_length=length)
        return self._tokenizer.encode(checked_instruction(text))
