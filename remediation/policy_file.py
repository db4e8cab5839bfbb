"""The policy in a file: read, held against its types and against itself. Everything that is wrong is told at once, each
with its line."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import structlog

from remediation.channels import channel_problems
from remediation.crontab import cron_trigger
from remediation.errors import PolicyInvalid, ScheduleError
from remediation.file_errors import line_of, listed, mistakes, offer, told, twice
from remediation.names import taken
from remediation.policy import Policy

_log = structlog.get_logger()

_SECRETS = "; a secret is named by its environment variable: `secret_env`, `url_env`, `key_env`"


def read_policy(path: Path, *, in_force: Callable[[str], bool] = lambda _: False) -> Policy:
    """The policy in a YAML file. Raises `PolicyInvalid` with line, field, value and what would be right of each thing
    that is wrong.

    in_force: whether a file with this SHA-256 was in force before. Of one that was, roles that nobody has are only told
    in the log: an agent that does not start again at night is worse than a pause that nobody may make.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyInvalid(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        raw = msgspec.yaml.decode(content)
    except msgspec.DecodeError as error:
        raise PolicyInvalid(f"{path} is no YAML: {error}") from error
    if raw is None:
        raise PolicyInvalid(
            f"{path} is empty: with no people everybody may decide alone. Put the policy back; where everybody shall, "
            "unset HOMEOSTAT_POLICY"
        )
    told_wrong = (_told(what, place, raw, content) for what, place in mistakes(raw, Policy))
    wrong = [*twice(content), *told_wrong]
    if wrong:
        raise PolicyInvalid(listed(path, wrong))
    policy = msgspec.convert(raw, Policy)
    wrong = [f"{_line(content, place)}{text}" for place, text in _problems(policy)]
    idle = [f"{_line(content, place)}{text}" for place, text in _powerless(policy)]
    if wrong or (idle and not in_force(sha256(content).hexdigest())):
        raise PolicyInvalid(listed(path, [*wrong, *idle]))
    for each in idle:
        _log.warning(
            "The policy is taken as it was in force before, with a mistake", file=str(path), mistake=each
        )
    return policy


def _told(what: str, place: str, raw: object, content: bytes) -> str:
    value, wrong = told(what, place, raw, Policy)
    secrets = _SECRETS if place.startswith(".channels") and "unknown field" in what else ""
    named = place.lstrip(".") or "the file"
    unknown = what.split("`")[1] if "unknown field" in what else ""
    line = _line(content, f"{place}.{unknown}" if unknown else place)
    return f"{line}{named}{f' is {value}' if value else ''}: {wrong}{secrets}"


def _line(content: bytes, place: str) -> str:
    line = line_of(content, place)
    return "" if line is None else f"line {line}, "


def _problems(policy: Policy) -> Iterator[tuple[str, str]]:
    """Where, and what is wrong with what the types let pass."""
    if policy.rules and not policy.people:
        yield ".rules", "rules need people: name at least one person under `people`"
    for position, rule in enumerate(policy.rules):
        entitled = policy.entitled(rule.roles)
        if policy.people and len(entitled) < rule.takes:
            beside = "" if rule.self_approval else " (one more than consent, for self_approval is false)"
            never = "never" if len(entitled) < rule.quorum else "not always"
            yield (
                f".rules[{position}]",
                f"rules[{position}] needs {rule.takes} people with one of the roles {', '.join(rule.roles) or 'any'}"
                f"{beside}, and there are {len(entitled)}: its plans could {never} be approved"
                f"{_roles_meant(policy, rule.roles)}",
            )
    for position, freeze in enumerate(policy.freezes):
        try:
            cron_trigger(freeze.schedule)
        except ScheduleError as error:
            yield f".freezes[{position}].schedule", f"freezes[{position}].schedule: {error}"
    for name, person in policy.people.items():
        for place, called in ((f"people.{name}", name), (f"people.{name}.email", person.email)):
            if called is not None and (why := taken(called)) is not None:
                yield f".{place}", f"{place}: {why}"
    yield from _unknown_people(policy)
    yield from ((".channels", each) for each in channel_problems(policy.channels))
    slack = [person.slack for person in policy.people.values() if person.slack]
    twice = sorted({each for each in slack if slack.count(each) > 1})
    if twice:
        yield ".people", f"two people have the Slack id {', '.join(twice)}: one person would count as two"


def _powerless(policy: Policy) -> Iterator[tuple[str, str]]:
    """Rights that are given to roles, and that nobody has."""
    rights = (
        ("operators", policy.operators, "nobody could pause"),
        ("break_glass", policy.break_glass, "nobody could act in a freeze, or alone where it takes several"),
    )
    for field, roles, so in rights:
        if roles and not policy.entitled(roles):
            told = f"{field} names the roles {', '.join(roles)}, which nobody in people has: {so}"
            yield f".{field}", f"{told}{_roles_meant(policy, roles)}"


def _unknown_people(policy: Policy) -> Iterator[tuple[str, str]]:
    for position, step in enumerate(policy.escalation):
        place = f"escalation[{position}]"
        for number, name in enumerate(step.people):
            if name not in policy.people:
                yield f".{place}.people[{number}]", f"{place} names {_nobody(name, policy.people)}"
        if step.on_call and policy.on_call is None:
            yield f".{place}.on_call", f"{place} calls who is on call, and on_call says nobody"
    for number, name in enumerate(policy.on_call.people if policy.on_call is not None else ()):
        if name not in policy.people:
            yield f".on_call.people[{number}]", f"on_call names {_nobody(name, policy.people)}"


def _nobody(name: str, people: Iterable[str]) -> str:
    return f"{name!r}, who is not in people{offer(name, people, 'there are')}"


def _roles_meant(policy: Policy, roles: Iterable[str]) -> str:
    """What was meant by roles that nobody has."""
    known = sorted({role for person in policy.people.values() for role in person.roles})
    return "".join(offer(role, known, "people have") for role in roles if role not in known)
