"""How a worker answers: what its work returned, or why it failed, in a form that any process can read."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from vpp_edge.errors import BadInputError, InconclusiveError, VppEdgeError

DONE, REFUSED, FAILED = "done", "refused", "failed"
Answer = tuple[str, Any]
"""(DONE, result), (REFUSED, (text, exit status) of an error of ours), or (FAILED, traceback of any other)."""

_ERRORS = {kind.exit_status: kind for kind in (VppEdgeError, BadInputError, InconclusiveError)}


def answer_of(function: Callable[..., Any], *arguments: Any) -> Answer:
    """Calls the function; raises nothing but what ends a process."""
    try:
        return DONE, function(*arguments)
    except VppEdgeError as error:
        return REFUSED, (str(error), error.exit_status)
    except Exception:  # noqa: BLE001 - only the parent can report it to the user
        return FAILED, traceback.format_exc()


def result_of(answer: Answer, worker: str) -> Any:
    """The result in an answer of `worker`, named as in `a worker process`.

    Raises:
        VppEdgeError: the work raised it, with the same text and exit status, or failed otherwise.
    """
    kind, value = answer
    if kind == REFUSED:
        text, status = value
        raise _ERRORS.get(status, VppEdgeError)(text)
    if kind == FAILED:
        raise VppEdgeError(f"{worker} failed; the work is incomplete:\n{value}")
    return value
