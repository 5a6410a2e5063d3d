"""CLIP token ids of an instruction: in, text; out, fixed-length ids and masks, as the training code pads them."""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError, BundleError


class InstructionTokenizer:
    """Tokenizes as transformers' CLIPTokenizer with `padding="max_length", truncation=True`.

    Args:
        definition: content of tokenizer.json.
        pad_token_id: fills up to the length asked for.
    """

    def __init__(self, definition: bytes, pad_token_id: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(definition.decode("utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise BundleError(f"tokenizer.json is not readable ({error}). Export the bundle again.") from error
        self._tokenizer.no_padding()
        self._pad_token_id = pad_token_id

    def encode(self, text: str, length: int) -> tuple[np.ndarray, np.ndarray]:
        """ids and mask, (1, length) int64 each; the mask is 1 on the text with its start and end token.

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
