"""Read the normalization bounds of a policy, and refuse a real-robot policy whose bounds are missing or placeholders.

Without its bounds, the outputs of a policy count as metres and radians, and a hand would run at its speed limit. Only
the user can know that a policy was really trained like that, and says so with `--raw-actions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.errors import BadInputError, CheckpointError
from vpp_edge.spec.policy import Bounds

NORMALIZED_VARIANTS = ("xhand", "xbot")


@dataclass(frozen=True)
class PolicyBounds:
    """Normalization of a policy's state and actions.

    Attributes:
        state, action: None: not normalized.
        raw: the user said that a real-robot policy is not normalized.
        notes: unusual bounds that are no error, one sentence each.
    """

    state: Bounds | None
    action: Bounds | None
    raw: bool
    notes: tuple[str, ...]


def policy_bounds(
    arguments: Arguments, variant: str, *, actions: int, proprio: int | None, raw: bool = False
) -> PolicyBounds:
    """The bounds in `args.dataset_args`, checked against the variant.

    Args:
        actions, proprio: numbers of an action and of the state; None: the policy takes no state.
        raw: the user said that the policy is not normalized.

    Raises:
        CheckpointError: bounds are missing, placeholders, half given, of another length or not ordered, or `raw`
            contradicts them.
    """
    normalized = variant in NORMALIZED_VARIANTS
    if raw and not normalized:
        raise CheckpointError(
            f"--raw-actions is for {' and '.join(NORMALIZED_VARIANTS)} policies; the actions of {variant} are never "
            "normalized. Leave it out."
        )
    found = {"action": _bounds(arguments, "action", actions), "state": _bounds(arguments, "state", proprio)}
    if proprio is None:
        del found["state"]
    problems = {name: _problem(name, bounds) for name, bounds in found.items()} if normalized else {}
    usable = [name for name, problem in problems.items() if not problem]
    if raw and usable:
        raise CheckpointError(
            f"policy.pt: args.dataset_args has {' and '.join(usable)} bounds, so the policy is normalized. Leave out "
            "--raw-actions."
        )
    if any(problems.values()) and not raw:
        faults = " and ".join(problem for problem in problems.values() if problem)
        raise CheckpointError(
            f"policy.pt: args.dataset_args {faults}. Without its normalization bounds, the outputs of "
            f"this {variant} policy would count as metres and radians. Add the bounds of the training data (1st and "
            "99th percentile); if the policy was trained without normalization, pass --raw-actions."
        )
    if raw:
        note = "exported with --raw-actions: the policy's numbers count as metres and radians"
        return PolicyBounds(state=None, action=None, raw=True, notes=(note,))
    notes = [note for name, bounds in found.items() if bounds is not None for note in _notes(name, bounds)]
    return PolicyBounds(state=found.get("state"), action=found["action"], raw=False, notes=tuple(notes))


def _bounds(arguments: Arguments, name: str, dims: int | None) -> Bounds | None:
    """The bounds of `dims` numbers; None where there are none, or nothing that they could normalize."""
    key = f"args.dataset_args.{name}"
    lower, upper = (arguments.numbers(f"dataset_args.{name}_{p}") for p in ("01", "99"))
    if lower is None and upper is None:
        return None
    if lower is None or upper is None:
        there, lacks = ("99", "01") if lower is None else ("01", "99")
        raise CheckpointError(
            f"policy.pt: {key}_{there} is there, but {key}_{lacks} is missing. Add it, or remove both."
        )
    if dims is None:
        return None
    if not len(lower) == len(upper) == dims:
        raise CheckpointError(f"policy.pt: {key}_01/99 have {len(lower)}/{len(upper)} values, expected {dims}")
    try:
        return Bounds(lower, upper)
    except BadInputError as error:
        raise CheckpointError(f"policy.pt: {key}_01/99: {error}") from error


def _problem(name: str, bounds: Bounds | None) -> str:
    """Why these bounds normalize nothing; empty if they do."""
    if bounds is None:
        return f"lacks {name}_01/99"
    if all(pair == (-1, 1) for pair in zip(bounds.lower, bounds.upper, strict=True)):
        same = "-1 and 1"
    elif len(bounds.constant_dimensions) == len(bounds.lower):
        same = "equal"
    else:
        return ""
    return f"has placeholders in {name}_01/99 ({same} in all {len(bounds.lower)} dimensions)"


def _notes(name: str, bounds: Bounds) -> list[str]:
    constant = bounds.constant_dimensions
    if not constant:
        return []
    effect = "the policy always sees -1 there" if name == "state" else "the policy cannot move them"
    return [f"{name} dimensions {', '.join(map(str, constant))} were constant in training: {effect}"]
