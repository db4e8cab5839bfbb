"""How surely a recovery has to be proven, as a policy and a step of a playbook may say it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

if TYPE_CHECKING:
    from remediation.config import VerificationConfig

Odds = Annotated[float, msgspec.Meta(gt=0, le=0.5)]


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is not given is as the policy says it, and else as it is by default.

    `within_s`: after so many seconds without a proof a person is asked. `false_pass`, `false_fail`: how probable it may
    be that what has not recovered passes, and that what has is failed. `regained`: the part of what was lost that has
    to be back, and more. `tolerance`: by how much a version may do worse than before where nothing was lost in labels
    (of an error: by that part of it). `at_least_rows`, `at_least_windows`: the fewest that can pass.
    """

    within_s: Annotated[float, msgspec.Meta(gt=0, le=2_592_000)] | None = None
    false_pass: Odds | None = None
    false_fail: Odds | None = None
    regained: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    at_least_rows: Annotated[int, msgspec.Meta(ge=1)] | None = None
    at_least_windows: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def over(self, other: "Proof") -> "Proof":
        """This, and what it does not say as `other` says it."""
        return msgspec.structs.replace(other, **_given(self))

    def settled(self, default: "VerificationConfig") -> "VerificationConfig":
        """`default` with what this says."""
        said: dict[str, Any] = {_FIELDS.get(name, name): value for name, value in _given(self).items()}
        # Whoever names a time means it, however long the windows are.
        longest = {"limit_windows": 0} if self.within_s is not None else {}
        return replace(default, **said, **longest)


_FIELDS = {"within_s": "limit_s", "at_least_rows": "rows", "at_least_windows": "windows"}


def in_plan(said: bool | Proof | None, usual: bool, policy: Proof) -> bool | dict[str, Any] | None:
    """What a plan says about its verification, so that an approval is bound to it. said: of the step; `usual`: whether
    recovery is proven after actions of its kind."""
    if said is False or (said is None and not usual):
        return said
    proof = said.over(policy) if isinstance(said, Proof) else policy
    return (None if said is None else True) if proof == Proof() else msgspec.to_builtins(proof)


def _given(proof: Proof) -> dict[str, Any]:
    return {name: value for name in proof.__struct_fields__ if (value := getattr(proof, name)) is not None}
