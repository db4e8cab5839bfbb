"""Playbooks in files: read, held against their schema and against themselves."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec

from remediation.crontab import cron_trigger
from remediation.errors import PlaybooksInvalid, ScheduleError
from remediation.playbooks.steps import MAY_BE_SAFE, FallBack, Rollback, ShiftTraffic, Step
from remediation.playbooks.values import Playbook, Playbooks

_BUILT_IN = Path(__file__).with_name("builtin.yaml")
_PLACE = re.compile(r"^(?P<what>.*) - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"^\.playbooks\[(\d+)\](?:\.steps\[(\d+)\])?")
_SHOWN_CHARS = 80


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
    try:
        found = msgspec.convert({} if raw is None else raw, Playbooks)
    except msgspec.ValidationError as error:
        raise PlaybooksInvalid(f"{name}: {_told(str(error), raw)}") from error
    problems = list(_problems(found))
    if problems:
        raise PlaybooksInvalid(f"{name}: " + "; ".join(problems))
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


def _told(error: str, raw: object) -> str:
    """An error of the schema with the playbook, the step, the field and the value that it is about."""
    found = _PLACE.match(error)
    if found is None:
        return error
    path = found["path"]
    value = _at(raw, path)
    shown = "" if isinstance(value, (dict, list)) else f" is {_short(value)}"
    return f"{_where(path, raw)}{shown}: {found['what']}"


def _where(path: str, raw: object) -> str:
    step = _STEP.match(path)
    if step is None:
        return path.lstrip(".") or "the file"
    name = _at(raw, f".playbooks[{step[1]}].name")
    place = f"playbooks[{step[1]}]" + (f" ({name!r})" if isinstance(name, str) else "")
    if step[2] is not None:
        action = _at(raw, f".playbooks[{step[1]}].steps[{step[2]}].action")
        place += f", step {int(step[2]) + 1}" + (f" ({action})" if isinstance(action, str) else "")
    rest = path[step.end() :].lstrip(".")
    return f"{place}, field `{rest}`" if rest else place


def _at(raw: object, path: str) -> object:
    """What stands at a path of msgspec's such as `.playbooks[0].steps[1].to`; None where nothing does."""
    found: Any = raw
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
        if name and isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(name)
        elif index and isinstance(found, list) and int(index) < len(cast("list[Any]", found)):
            found = found[int(index)]
        else:
            return None
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


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
