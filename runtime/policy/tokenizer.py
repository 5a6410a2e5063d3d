"""Converts an instruction into CLIP token ids and masks of fixed length, padded as in training."""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError, BundleError


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
            BadInputError: the text is empty.
        """
        if not text.strip():
            raise BadInputError("the instruction is empty; say what the hand should do")
        self._tokenizer.enable_truncation(max_length=length)
        tokens = self._tokenizer.encode(text).ids
        ids = np.full((1, length), self._pad_token_id, dtype=np.int64)
        mask = np.zeros((1, length), dtype=np.int64)
        ids[0, : len(tokens)] = tokens
        mask[0, : len(tokens)] = 1
        return ids, mask
