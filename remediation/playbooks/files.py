"""Playbooks in files: read, held against their schema and against themselves."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec

from remediation.crontab import cron_trigger
from remediation.errors import PlaybooksInvalid, ScheduleError
from remediation.file_errors import at, emptied, items, listed, mistake, told, twice
from remediation.playbooks.steps import MAY_BE_SAFE, FallBack, Rollback, ShiftTraffic, Step
from remediation.playbooks.values import Autonomy, Match, Playbook, Playbooks

_BUILT_IN = Path(__file__).with_name("builtin.yaml")
_STEP = re.compile(r"^\.playbooks\[(\d+)\](?:\.steps\[(\d+)\])?")


def read_playbooks(path: Path) -> Playbooks:
    """The playbooks in a YAML file. Raises `PlaybooksInvalid` with every place, its value and what would be right."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PlaybooksInvalid(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_playbooks(content, str(path))


def parse_playbooks(content: bytes, name: str) -> Playbooks:
    """The same of the content of a file."""
    try:
        raw = msgspec.yaml.decode(content)
    except msgspec.DecodeError as error:
        raise PlaybooksInvalid(f"{name} is no YAML: {error}") from error
    raw = {} if raw is None else raw
    mistakes = [*twice(content), *(_told(what, path, raw) for what, path in _mistakes(raw))]
    if mistakes:
        raise PlaybooksInvalid(listed(name, mistakes))
    found = msgspec.convert(raw, Playbooks)
    problems = list(_problems(found))
    if problems:
        raise PlaybooksInvalid(listed(name, problems))
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema of a file."""
    described = _in_one_line(msgspec.json.schema(Playbooks))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Homeostat playbooks",
        **described,
    }


def _in_one_line(described: Any) -> Any:
    """Descriptions without the line breaks of the source."""
    if isinstance(described, list):
        return [_in_one_line(each) for each in cast("list[Any]", described)]
    if not isinstance(described, dict):
        return described
    return {
        name: " ".join(value.split())
        if name == "description" and isinstance(value, str)
        else _in_one_line(value)
        for name, value in cast("dict[str, Any]", described).items()
    }


@cache
def built_in() -> tuple[Playbook, ...]:
    """The playbooks that come with Homeostat."""
    return msgspec.yaml.decode(_BUILT_IN.read_bytes(), type=Playbooks).playbooks


def in_force(playbooks: Playbooks) -> tuple[Playbook, ...]:
    """All playbooks in the order in which they are asked."""
    return (*playbooks.playbooks, *(built_in() if playbooks.built_in else ()))


def _mistakes(raw: object) -> Iterator[tuple[str, str]]:
    """What the schema finds, with its path; nothing where the file as a whole has the shape that it should have.

    At most one mistake for each entry of `autonomy`, each playbook's own fields, its match and each of its steps: a
    person does not mend the file one by one.
    """
    whole = mistake(raw, Playbooks, "")
    if whole is not None:
        parts = [mistake(*part) for part in _parts(raw)]
        yield from [each for each in parts if each is not None] or [whole]


def _parts(raw: object) -> Iterator[tuple[object, Any, str]]:
    """The parts of a file that can be judged each by itself, with their types and paths."""
    yield emptied(raw, "playbooks", "autonomy"), Playbooks, ""
    autonomy = at(raw, ".autonomy")
    if isinstance(autonomy, dict):
        for pattern, said in cast("dict[object, object]", autonomy).items():
            yield said, Autonomy, f".autonomy.{pattern}"
    for position, playbook in enumerate(items(at(raw, ".playbooks"))):
        path = f".playbooks[{position}]"
        yield emptied(playbook, "match", "steps"), Playbook, path
        match = at(playbook, ".match")
        if isinstance(match, dict):
            yield cast("dict[object, object]", match), Match, f"{path}.match"
        for number, step in enumerate(items(at(playbook, ".steps"))):
            yield step, Step, f"{path}.steps[{number}]"


def _told(what: str, path: str, raw: object) -> str:
    """A mistake with the playbook, the step, the field and the value that it is about."""
    value, wrong = told(what, path, raw, Playbooks)
    return f"{_where(path, raw)}{f' is {value}' if value else ''}: {wrong}"


def _where(path: str, raw: object) -> str:
    step = _STEP.match(path)
    if step is None:
        return path.lstrip(".") or "the file"
    name = at(raw, f".playbooks[{step[1]}].name")
    place = f"playbooks[{step[1]}]" + (f" ({name!r})" if isinstance(name, str) else "")
    if step[2] is not None:
        action = at(raw, f".playbooks[{step[1]}].steps[{step[2]}].action")
        place += f", step {int(step[2]) + 1}" + (f" ({action})" if isinstance(action, str) else "")
    rest = path[step.end() :].lstrip(".")
    return f"{place}, field `{rest}`" if rest else place


def _problems(playbooks: Playbooks) -> Iterator[str]:
    taken = {each.name for each in built_in()} if playbooks.built_in else set[str]()
    for position, playbook in enumerate(playbooks.playbooks):
        place = f"playbooks[{position}] ({playbook.name!r})"
        if playbook.name in taken:
            yield f"{place}, field `name`: another playbook is called so; each needs a name of its own"
        taken.add(playbook.name)
        for number, during in enumerate(playbook.match.during):
            try:
                cron_trigger(during.schedule)
            except ScheduleError as error:
                yield f"{place}, field `match.during[{number}].schedule`: {error}"
        for number, step in enumerate(playbook.steps):
            for field, problem in _of_step(step):
                yield f"{place}, step {number + 1} ({step.kind}), field `{field}`{problem}"


def _of_step(step: Step) -> Iterator[tuple[str, str]]:
    if step.safe and step.kind not in MAY_BE_SAFE:
        yield (
            "safe",
            " is true: it changes what the model answers or is compared with, which is never safe; say `act: true`, "
            "and give the model the autonomy `act`, for it to be done without asking",
        )
    if step.safe and step.approval != type(step.approval)():
        yield "approval", " names people, and the step is safe: nobody is asked; leave one of them out"
    if isinstance(step, FallBack) and (step.to is None) == (step.constant is None):
        yield "to", ": give either a version in `to` or a score in `constant`"
    if isinstance(step, ShiftTraffic) and (
        list(step.shares) != sorted(set(step.shares)) or step.shares[-1] != 1
    ):
        yield "shares", f" is {list(step.shares)}: shares have to grow and end with 1, such as [0.1, 0.5, 1]"
    if isinstance(step, Rollback) and step.only_if.target_is_safe is False:
        yield "only_if.target_is_safe", " is false: a rollback goes to a safe version or not at all"
    both = sorted(set(step.only_if.change_recorded) & set(step.only_if.no_change_recorded))
    if both:
        yield "only_if", f": a change of kind {', '.join(both)} cannot be recorded and not recorded"
