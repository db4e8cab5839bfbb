"""What is wrong with playbooks that a schema cannot see: some that are never asked, steps that never run, consent that
nobody can give. Pure."""

from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

from detectors.values import Value
from remediation.actions import RULES
from remediation.playbooks import steps as kinds
from remediation.playbooks.consent import asked_of, is_safe
from remediation.playbooks.files import in_force
from remediation.playbooks.values import Match, Playbook, Playbooks
from remediation.policy import Policy, Rule
from remediation.values import Arrangement, Cause

_CAUSES: tuple[Cause, ...] = get_args(Cause)
_WILD = "*?["
_MAY_MEND = ("http_call",)


class Finding(Value, frozen=True, kw_only=True):
    """An `error` cannot be meant; a `warning` may be."""

    level: Literal["error", "warning"]
    place: str
    text: str


def lint(
    playbooks: Playbooks,
    *,
    policy: Policy,
    models: Collection[str] | None = None,
    configured: Callable[[str], bool] | None = None,
) -> list[Finding]:
    """All findings in the order of the file. `models`: names that are known (None: nobody could be asked);
    `configured`: whether an environment variable is set where the agent runs (None: not known)."""
    found = list(_empty(playbooks))
    asked = in_force(playbooks)
    for position, playbook in enumerate(playbooks.playbooks):
        place = f"playbook {playbook.name!r}"
        found += _shadowed(playbook, asked[:position], place)
        found += _unknown_models(playbook.match.models, models, place)
        found += _of_steps(playbook, place)
        for number, step in enumerate(playbook.steps):
            where = f"{place}, step {number + 1} ({step.kind})"
            found += _of_consent(step, playbook, policy, playbooks, where)
            found += _of_address(step, configured, where)
            found += _of_proof(step, where)
            found += _of_gate(step, where)
    for pattern in playbooks.autonomy:
        found += _unknown_models(pattern, models, f"autonomy of {pattern!r}")
    return found + list(_autonomy_shadowed(playbooks))


def _empty(playbooks: Playbooks) -> Iterator[Finding]:
    if playbooks.playbooks or (playbooks.built_in and playbooks.autonomy):
        return
    rest = (
        "those that come with Homeostat treat every incident"
        if playbooks.built_in
        else "nothing is ever done"
    )
    yield Finding(level="warning", place="the file", text=f"it names no playbook: {rest}")


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that the pattern `narrow` fits is one that `wide` fits; where it cannot be told: no."""
    if wide in ("*", narrow):
        return True
    if any(each in wide for each in "?[") and any(each in narrow for each in _WILD):
        return False
    return fnmatchcase(narrow, wide)


def _shadowed(playbook: Playbook, before: Sequence[Playbook], place: str) -> Iterator[Finding]:
    causes = playbook.match.causes or _CAUSES
    takers = {cause: _taker(playbook.match, cause, before) for cause in causes}
    taken = list(dict.fromkeys(each for each in takers.values() if each is not None))
    if all(each is not None for each in takers.values()):
        text = f"it is never asked: {' and '.join(map(repr, taken))} before it take every incident that it is for"
        yield Finding(level="error", place=place, text=text)
        return
    for cause, taker in takers.items():
        if taker is not None and playbook.match.causes:
            yield Finding(
                level="error", place=place, text=f"it is never asked about {cause}: {taker!r} comes first"
            )
    for other in before:
        if other.name not in taken and _tied(other.match, playbook.match):
            text = (
                f"it and {other.name!r} can be for one incident, and neither is the narrower: that one counts"
            )
            yield Finding(level="warning", place=place, text=text)


def _taker(match: Match, cause: Cause, before: Sequence[Playbook]) -> str | None:
    return next((each.name for each in before if _takes_all(each.match, match, cause)), None)


def _takes_all(wide: Match, narrow: Match, cause: Cause) -> bool:
    """Every incident of this cause that `narrow` is for is one that `wide` is for."""
    return (
        (not wide.causes or cause in wide.causes)
        and covers(wide.models, narrow.models)
        and covers(wide.versions, narrow.versions)
        and wide.severity in (None, narrow.severity)
        and wide.min_confidence <= narrow.min_confidence
        and (not wide.kinds or (bool(narrow.kinds) and set(narrow.kinds) <= set(wide.kinds)))
        and (not wide.measures or (wide.measures, wide.kinds) == (narrow.measures, narrow.kinds))
        and (not wide.segments or _all_covered(wide.segments, narrow.segments))
        and (not wide.during or wide.during == narrow.during)
    )


def _all_covered(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    return bool(narrow) and all(any(covers(each, one) for each in wide) for one in narrow)


def _tied(first: Match, second: Match) -> bool:
    """Both can be for one incident, and the first is not the narrower one: in its models, or else in everything."""
    shared: list[Cause] = [
        cause for cause in (second.causes or _CAUSES) if not first.causes or cause in first.causes
    ]
    meet = _meet(first.models, second.models) and _meet(first.versions, second.versions)
    severe = None in (first.severity, second.severity) or first.severity == second.severity
    special = covers(second.models, first.models) and not covers(first.models, second.models)
    narrower = special or all(_takes_all(second, first, cause) for cause in first.causes or _CAUSES)
    return bool(shared) and meet and severe and not narrower


def _meet(one: str, other: str) -> bool:
    """Whether a name may fit both patterns: their beginnings, up to the first wildcard, do not contradict."""
    heads = [
        each[: next((n for n, sign in enumerate(each) if sign in _WILD), len(each))] for each in (one, other)
    ]
    if heads == [one, other]:
        return one == other
    if one == heads[0]:
        return fnmatchcase(one, other)
    if other == heads[1]:
        return fnmatchcase(other, one)
    return heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])


def _unknown_models(pattern: str, models: Collection[str] | None, place: str) -> Iterator[Finding]:
    if models is not None and pattern != "*" and not any(fnmatchcase(each, pattern) for each in models):
        known = ", ".join(sorted(models)) or "none"
        text = f"no model is called {pattern!r}; known are: {known}"
        yield Finding(level="warning", place=place, text=text)


def _of_steps(playbook: Playbook, place: str) -> Iterator[Finding]:
    """Steps after one that always runs and does not go on; steps that ask for what the playbook's match excludes."""
    last: str | None = None
    for number, step in enumerate(playbook.steps):
        where = f"{place}, step {number + 1} ({step.kind})"
        if last is not None:
            text = f"it can never run: {last} always can, and then the incident ends; say `on_failure: next` there"
            yield Finding(level="error", place=where, text=text)
        elif step in playbook.steps[:number]:
            yield Finding(level="warning", place=where, text="the same step stands before it")
        learns = isinstance(step, kinds.Retrain) and _forbidden(step, playbook.match)
        if learns:
            yield Finding(level="error", place=where, text=f"it can never run: {learns}")
        if last is None and _always_runs(step) and _ends(step):
            last = f"step {number + 1} ({step.kind})"


def _forbidden(step: kinds.Retrain, match: Match) -> str:
    refused: dict[Cause, str] = {}
    if "broken_data" not in step.accept:
        refused["upstream_data_break"] = "broken_data"
    if "bad_labels" not in step.accept:
        refused["label_problem"] = "bad_labels"
    if not match.causes or not all(cause in refused for cause in match.causes):
        return ""
    needed = ", ".join(refused[cause] for cause in match.causes)
    return f"nothing is trained on what is known to be wrong, unless it says `accept: [{needed}]`"


def _always_runs(step: kinds.Step) -> bool:
    always = isinstance(step, (kinds.PauseModel, kinds.RefreshReference, kinds.RunCommand)) or (
        isinstance(step, kinds.FallBack) and step.constant is not None
    )
    return always and step.only_if == kinds.Conditions()


def _ends(step: kinds.Step) -> bool:
    """Whether no step comes after it, however it ends; what a shadow has proven is for the next one."""
    if isinstance(step, kinds.Shadow):
        return False
    verified = RULES[step.kind].verified if step.verify is None else step.verify is not False
    return verified and (step.on_failure or "stop") != "next"


def _of_consent(
    step: kinds.Step, playbook: Playbook, policy: Policy, playbooks: Playbooks, place: str
) -> Iterator[Finding]:
    if is_safe(step, Arrangement()):
        return
    if policy.knows_people and (step.approval.roles or step.approval.quorum):
        told = (_lacking(step, rule, policy) for rule in _rules_for(step, playbook, policy))
        text = next((each for each in told if each is not None), None)
        if text is not None:
            yield Finding(level="error", place=place, text=text)
    if step.act and not any(
        said == "act" and _meet(pattern, playbook.match.models)
        for pattern, said in playbooks.autonomy.items()
    ):
        text = "it says `act: true`, and `autonomy` gives none of its models `act`: it asks"
        yield Finding(level="warning", place=place, text=text)


def _rules_for(step: kinds.Step, playbook: Playbook, policy: Policy) -> Iterator[Rule]:
    """The rules of the policy that may count for what the step proposes."""
    for rule in policy.rules:
        if rule.actions and step.kind not in rule.actions:
            continue
        if _meet(rule.models, playbook.match.models):
            yield rule
        if covers(rule.models, playbook.match.models):
            return
    yield Rule()


def _lacking(step: kinds.Step, rule: Rule, policy: Policy) -> str | None:
    """That the policy has too few people for what it and the step ask together; None where it has enough."""
    roles, quorum = asked_of(step, rule)
    entitled, takes = policy.entitled(roles), quorum + (not rule.self_approval)
    if len(entitled) >= takes:
        return None
    people = f"people with one of the roles {', '.join(roles) or 'any'}"
    there = f"and the policy has {len(entitled)} ({', '.join(entitled) or 'nobody'})"
    if len(entitled) < quorum:
        return f"it needs {quorum} {people}, {there}: nobody could ever approve it"
    return (
        f"it needs {takes} {people} (one more than consent, for self_approval is false), {there}: "
        "nobody could approve what becomes of a release of theirs"
    )


def _of_proof(step: kinds.Step, place: str) -> Iterator[Finding]:
    """Recovery can be proven after anything, but hardly comes of what only informs; a shadow's proof is its own."""
    if isinstance(step, kinds.Shadow):
        return
    if step.verify not in (None, False) and not RULES[step.kind].verified and step.kind not in _MAY_MEND:
        text = "it says `verify`, and changes nothing that could recover: the incident waits for a proof after it"
        yield Finding(level="warning", place=place, text=text)


def _of_address(step: kinds.Step, configured: Callable[[str], bool] | None, place: str) -> Iterator[Finding]:
    if configured is None or not isinstance(step, (kinds.OpenIssue, kinds.HttpCall)):
        return
    for variable in (step.url_env, step.secret_env):
        if variable is not None and not configured(variable):
            yield Finding(
                level="warning", place=place, text=f"the environment variable {variable} is not set here"
            )


def _autonomy_shadowed(playbooks: Playbooks) -> Iterator[Finding]:
    patterns = list(playbooks.autonomy)
    for position, pattern in enumerate(patterns):
        wider = next((each for each in patterns[:position] if covers(each, pattern)), None)
        if wider is not None:
            text = f"it never counts: {wider!r} comes first"
            yield Finding(level="error", place=f"autonomy of {pattern!r}", text=text)


def _of_gate(step: kinds.Step, place: str) -> Iterator[Finding]:
    if isinstance(step, kinds.Retrain) and step.gate.better in step.gate.not_worse:
        name = step.gate.better
        text = (
            f"`not_worse` of {name} says nothing: a candidate has to be better by {name}, by more than `by`"
        )
        yield Finding(level="warning", place=place, text=text)
