"""Every error that vpp-edge raises on purpose: in, what went wrong; out, a message and the exit status of the command.

A message says what, where, expected and got, and what to do next. Anything else that escapes is a bug of ours.
"""

from __future__ import annotations


class VppEdgeError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_status: what a command that ends with this error returns to the shell.
    """

    exit_status = 1


class CheckFailedError(VppEdgeError):
    """A comparison or verification ran to its end and did not hold (exit status 1)."""


class BadInputError(VppEdgeError):
    """What the user gave cannot be used: a file, an option, an array of the wrong shape (exit status 2)."""

    exit_status = 2


class CheckpointError(BadInputError):
    """A trained checkpoint is unsafe, incomplete or of another model than VPP."""


class BundleError(BadInputError):
    """A bundle is missing, changed, forged or of another schema version; nothing of it was opened by an engine."""


class MissingDependencyError(BadInputError):
    """An optional library is not installed; the message names the command that installs it."""

    def __init__(self, library: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed here. Install it with: {install}")
        self.library = library


class HardwareFaultError(VppEdgeError):
    """A camera, bus or hand stopped answering as it should; the runtime ends in the safe pose."""


class EndOfStreamError(HardwareFaultError):
    """A recording that does not loop was played to its end. Opening it again would only play it again."""
