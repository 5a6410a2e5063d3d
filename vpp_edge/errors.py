"""The errors that vpp-edge raises on purpose, each with the exit status of the command.

A message says what, where, expected and got, and what to do next. Any other exception that escapes is a bug.
"""

from __future__ import annotations


class VppEdgeError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_status: what a command that ends with this error returns to the shell.
    """

    exit_status = 1


class CheckFailedError(VppEdgeError):
    """A comparison or verification completed and failed (exit status 1)."""


class BadInputError(VppEdgeError):
    """Unusable input: a file, an option, an array of the wrong shape (exit status 2)."""

    exit_status = 2


class CheckpointError(BadInputError):
    """A trained checkpoint is unsafe, incomplete or not a VPP model."""


class BundleError(BadInputError):
    """A bundle is missing, changed, forged or of another schema version; no engine has opened any of it."""


class InconclusiveError(VppEdgeError):
    """A check could not see what it judges; the message says what is missing (exit status 3)."""

    exit_status = 3


class MissingDependencyError(BadInputError):
    """An optional library is not installed; the message names the command that installs it."""

    def __init__(self, library: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed here. Install it with: {install}")
        self.library = library


class HardwareFaultError(VppEdgeError):
    """A camera, bus or hand failed to respond correctly; the runtime ends in the safe pose."""


class EndOfStreamError(HardwareFaultError):
    """A recording that does not loop was played to its end. Reopening it would only replay it."""
