"""The steps that a playbook can be made of: one type per kind of action, each with the parameters that it takes."""

from typing import Annotated, Literal, cast

import msgspec

from remediation.changes import ChangeKind
from remediation.demands import Measure
from remediation.file_errors import VARIABLE
from remediation.playbooks.proposal import OnFailure
from remediation.policy import Names
from remediation.proof import Proof
from remediation.reminders import Minutes
from remediation.values import ActionKind

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Variable = Annotated[str, msgspec.Meta(pattern=VARIABLE, max_length=200)]
"""The name of an environment variable: a file that is shared holds no address with a secret in it."""
Body = dict[str, str | int | float | bool | None]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | int
"""`last_good` (the one that a rollback would go back to), `newest` (registered last), or a version's name."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must hold for a step, all of it; a step whose conditions do not hold is passed over, and says so.

    `target_is_safe`: there is (true) or is not (false) a version that is safe to go back to. `traffic_at_least`:
    requests per minute in the last window. `labels_at_least`: labelled rows of the ill version since the change.
    `max_segments`: the illness shows in at most so many segments and not in the whole traffic. `not_frozen`: no freeze
    of the policy is in force. `change_recorded`, `no_change_recorded`: kinds of recorded changes near the onset, of
    which one, or none, is there.
    """

    target_is_safe: bool | None = None
    traffic_at_least: Annotated[float, msgspec.Meta(gt=0)] | None = None
    labels_at_least: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_segments: Annotated[int, msgspec.Meta(ge=1)] | None = None
    not_frozen: bool = False
    change_recorded: tuple[ChangeKind, ...] = ()
    no_change_recorded: tuple[ChangeKind, ...] = ()


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`quorum` people, each with one of `roles` (none given: as the policy says), within `until_min` minutes."""

    roles: Names = ()
    quorum: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    until_min: Minutes | None = None


class Common(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="action",
):
    """What every step can say.

    `only_if`: its conditions. `safe`: it needs nobody's consent (none given: as its kind is; what changes a model's
    answers never is). `act`: a risky step that is done without asking where the model's autonomy is `act`. `approval`:
    whose consent it takes. `timeout_s`, `retries`: of each attempt at an effect. `on_failure`: `next` step, `stop` and
    tell people, or `undo` also what a failed verification would leave, and stop. `verify`: whether recovery must be
    proven after it (none given: as its kind is), or how surely; of a shadow: that it does well.
    """

    only_if: Conditions = Conditions()
    safe: bool | None = None
    act: bool = False
    approval: Consent = Consent()
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    on_failure: OnFailure | None = None
    verify: bool | Proof | None = None

    @property
    def kind(self) -> ActionKind:
        """The kind of action."""
        return cast("ActionKind", self.__struct_config__.tag)


class Rollback(Common, frozen=True, kw_only=True, tag="rollback"):
    """Back to the version that served last, was in order, and fits today's traffic."""


class Better(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a candidate has to do on held-out cases. It is better by the measure `better` (none given: the one that
    alarmed the most, F1 where none did) by more than `by`, and worse by no other by more than `not_worse` says (0.02
    for balanced accuracy, F1, and what alarmed besides)."""

    better: Measure | None = None
    by: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    not_worse: dict[Measure, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}


class Retrain(Common, frozen=True, kw_only=True, tag="retrain"):
    """A candidate is trained and serves if it beats the version that serves. `with_past`: also on rows from before the
    change (none given: unless the concept changed). `accept`: it may learn from data that are known to be broken or
    from labels that cannot be trusted; without it the step is passed over then. `gate`: by what it has to be better."""

    with_past: bool | None = None
    gate: Better = Better()
    accept: tuple[Literal["broken_data", "bad_labels"], ...] = ()


class Promote(Common, frozen=True, kw_only=True, tag="promote"):
    """The version `to` answers every request."""

    to: Version


class ShiftTraffic(Common, frozen=True, kw_only=True, tag="shift_traffic"):
    """The version `to` answers the first of `shares` of the requests, `hold_s` seconds later the next; the last is 1,
    and is verified as a whole."""

    to: Version
    shares: Annotated[tuple[Share, ...], msgspec.Meta(min_length=1, max_length=20)]
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 0.0


class Shadow(Common, frozen=True, kw_only=True, tag="shadow"):
    """The version `to` scores every request beside the one that answers, until the incident ends; with `keep` also
    after it. With `verify` the next step waits until the shadow is proven to do well, on the labels of the requests."""

    to: Version
    keep: bool = False


class FallBack(Common, frozen=True, kw_only=True, tag="fall_back"):
    """Either the version `to`, or the score `constant` instead of a model's."""

    to: Version | None = None
    constant: float | None = None


class QuarantineFeature(Common, frozen=True, kw_only=True, tag="quarantine_feature"):
    """What arrives as a feature is replaced before scoring. `features`: names, or `worst`: at most `at_most` that a
    data-quality alert shows to be broken in at least `min_share` more of the rows than is usual (the first window of a
    break holds healthy rows, too). `impute`: the `median` of the reference,
    `missing`, or a number; a category can only be missing."""

    features: Literal["worst"] | Names = "worst"
    impute: Literal["median", "missing"] | float = "median"
    at_most: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    min_share: Share = 0.2


class PauseModel(Common, frozen=True, kw_only=True, tag="pause_model"):
    """Requests are refused with 503, and the callers do what they do without a model."""


class RaiseLogDetail(Common, frozen=True, kw_only=True, tag="raise_log_detail"):
    """Each request is logged in full, until the incident ends; with `keep` also after it."""

    keep: bool = False


class ScaleReplicas(Common, frozen=True, kw_only=True, tag="scale_replicas"):
    """So many servers run."""

    replicas: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class RefreshReference(Common, frozen=True, kw_only=True, tag="refresh_reference"):
    """The ill version is compared with the last `rows` archived rows since the change, and `reason` says why they are
    usual from now on."""

    reason: Text
    rows: Annotated[int, msgspec.Meta(ge=100, le=100_000_000)] = 1_000


class OpenIssue(Common, frozen=True, kw_only=True, tag="open_issue"):
    """An issue with what is known, posted to the address in the environment variable `url_env`, signed with the secret
    in `secret_env`."""

    url_env: Variable = "HOMEOSTAT_ISSUE_URL"
    secret_env: Variable | None = None
    title: Text | None = None
    body: Body = {}


class HttpUndo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The call that takes another one back."""

    url_env: Variable
    secret_env: Variable | None = None
    body: Body = {}


class HttpCall(Common, frozen=True, kw_only=True, tag="http_call"):
    """`body` and what is known, posted to the address in the environment variable `url_env`, signed with the secret in
    `secret_env`. `check_env`: an address that tells whether the effect is there. `undo`: the call that takes it
    back."""

    url_env: Variable
    secret_env: Variable | None = None
    check_env: Variable | None = None
    body: Body = {}
    undo: HttpUndo | None = None


class RunCommand(Common, frozen=True, kw_only=True, tag="run_command"):
    """A program with its arguments, on the agent's machine, without a shell. `undo`: the command that takes it back."""

    argv: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=100)]
    undo: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None


Step = (
    Rollback
    | Retrain
    | Promote
    | ShiftTraffic
    | Shadow
    | FallBack
    | QuarantineFeature
    | PauseModel
    | RaiseLogDetail
    | ScaleReplicas
    | RefreshReference
    | OpenIssue
    | HttpCall
    | RunCommand
)

MAY_BE_SAFE = frozenset(
    {"raise_log_detail", "open_issue", "scale_replicas", "shadow", "http_call", "run_command"}
)
"""Kinds that a playbook may call safe: they leave the model's answers, and what they are compared with, as they are."""

SAFE = frozenset({"raise_log_detail", "open_issue"})
"""Kinds that are safe where the playbook says nothing; so are more replicas than run now."""
