"""Instructions: what is accepted as one, and which of its words a policy does not read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from tokenizers import Encoding

READERS = ("the video model", "the action head")  # in the order of PolicySpec.text_lengths
SHOWN_CHARACTERS = 60


class TruncatedInstructionWarning(UserWarning):
    """A policy does not read all words of an instruction; the message names the lost ones."""


def checked_instruction(instruction: object) -> str:
    """The instruction, if it is one.

    Raises:
        BadInputError: it is no text, empty, or cannot be encoded as UTF-8.
    """
    if not isinstance(instruction, str):
        raise BadInputError(f"the instruction is {type(instruction).__name__}; expected text, such as 'Grasp it.'")
    if not instruction.strip():
        raise BadInputError("the instruction is empty; say what the hand should do")
    try:
        instruction.encode()
    except UnicodeEncodeError:
        raise BadInputError(f"the instruction {instruction!r:.80} is not valid text; write it in UTF-8") from None
    return instruction


def lost_words(instruction: str, encoded: Encoding) -> tuple[str, ...]:
    """The words that truncation cut off, wholly or in part, in their order.

    Args:
        encoded: the truncated tokens of the instruction, with those that did not fit as `overflowing`.
    """
    lost = [
        start
        for rest in encoded.overflowing
        for (start, _), special in zip(rest.offsets, rest.special_tokens_mask, strict=True)
        if not special
    ]
    if not lost:
        return ()
    cut = min(lost)
    begun = "" if instruction[:cut][-1:].isspace() else "".join(instruction[:cut].split()[-1:])
    rest = instruction[cut:].split()
    if begun and any(map(str.isalnum, rest[0])):  # not for a full stop or a comma behind a word that was read
        rest[0] = begun + rest[0]
    return tuple(rest)


def truncation_note(instruction: str, encodings: Sequence[Encoding]) -> str:
    """One sentence on the words that each reader loses; empty if none does.

    Args:
        encodings: the tokens of the instruction for each of READERS, truncated to what it reads.
    """
    losses = [
        f'{reader} reads {len(encoded.ids)} tokens and loses "{" ".join(words)}"'
        for reader, encoded in zip(READERS, encodings, strict=True)
        if (words := lost_words(instruction, encoded))
    ]
    if not losses:
        return ""
    shown = " ".join(instruction.split())
    shown = shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}..."
    return f'the instruction "{shown}" is too long: {"; ".join(losses)}; say it in fewer words'


def warn_if_truncated(instruction: str, encodings: Sequence[Encoding]) -> None:
    """Warns the caller of the calling function with a TruncatedInstructionWarning; arguments as `truncation_note`."""
    if note := truncation_note(instruction, encodings):
        warnings.warn(note, TruncatedInstructionWarning, stacklevel=3)


@contextmanager
def truncation_ignored() -> Iterator[None]:
    """For instructions that no user wrote, or of which another process tells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedInstructionWarning)
        yield


@contextmanager
def truncation_told_to(tell: Callable[[str], object]) -> Iterator[None]:
    """Passes each TruncatedInstructionWarning of the body to `tell` once, instead of printing it as Python does."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", TruncatedInstructionWarning)
        show = warnings.showwarning

        def show_or_tell(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, TruncatedInstructionWarning):
                tell(str(message))
            else:
                show(message, category, filename, lineno, file=file, line=line)

        warnings.showwarning = show_or_tell
        yield
