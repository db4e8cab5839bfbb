"""What is wrong in a file that people write, so that they can put it right: the value, and what could stand there."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, cast

import msgspec
from msgspec import inspect

FromText = Callable[[Any, Any], Any]
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""The pattern of the name of an environment variable."""
_NO_VARIABLE = (
    "Expected the name of an environment variable, such as TICKETS_URL; what is in it, an address or a secret, does "
    "not stand in the file"
)
_KEY = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$")
_SHOWN_CHARS = 80


def mistake(
    raw: object, kind: Any, path: str = "", from_text: FromText | None = None
) -> tuple[str, str] | None:
    """What is wrong first in `raw`, which stands at `path` of the file and should be a `kind`, and the path to it, such
    as `.playbooks[0].name`. `from_text`: msgspec's `dec_hook`."""
    try:
        msgspec.convert(raw, kind, dec_hook=from_text)
    except msgspec.ValidationError as error:
        what, place, inner = str(error).partition(" - at `")
        return what, path + (inner.rpartition("$")[2].rstrip("`") if place else "")
    return None


def told(what: str, path: str, raw: object, kind: Any) -> tuple[str, str]:
    """The value at `path` of `raw` as people are shown it, empty where it is no single one, and what is wrong with it
    together with what would be right. `kind`: the type that `raw` should have."""
    if VARIABLE in what:
        return "", _NO_VARIABLE
    value, choices = at(raw, path), _choices(kind, path, raw)
    unknown, missing = _UNKNOWN.match(what), _MISSING.match(what)
    if unknown is not None:
        what += _offer(unknown["name"], _fields(kind, path, raw), "known are")
    elif missing is not None:
        what += _offer(None, _choices(kind, f"{path}.{missing['name']}", raw), "there are")
    elif choices:
        what += _offer(value, choices, "there are")
    shown = "" if value is None or isinstance(value, (dict, list)) else _short(value)
    return shown, what


def at(raw: object, path: str) -> object:
    """What stands at a path of msgspec's such as `.playbooks[0].steps[1].to`; None where nothing does."""
    found: Any = raw
    for name, index in _KEY.findall(path):
        if name and isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(name)
        elif index.isdigit() and isinstance(found, list) and int(index) < len(cast("list[Any]", found)):
            found = found[int(index)]
        else:
            return None
    return found


def items(raw: object) -> list[object]:
    """What is in a list; nothing where it is none."""
    return cast("list[object]", raw) if isinstance(raw, list) else []


def emptied(raw: object, *names: str) -> object:
    """The same without what is in the fields `names`, which is judged by itself."""
    if not isinstance(raw, dict):
        return raw
    return {
        name: type(value)() if name in names and isinstance(value, (list, dict)) else value
        for name, value in cast("dict[object, object]", raw).items()
    }


def _offer(value: object, choices: Iterable[str], lead: str) -> str:
    known = list(choices)
    near = get_close_matches(value, known, n=1) if isinstance(value, str) else []
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{meant} ({lead}: {', '.join(known)})" if known else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _choices(kind: Any, path: str, raw: object) -> list[str]:
    """The words that may stand at `path`; none where it is not one of a list."""
    found: list[str] = []
    for each in _types(kind, path, raw):
        if isinstance(each, inspect.LiteralType):
            found += [str(value) for value in each.values]
    parent, _, name = path.rpartition(".")
    structs = [each for each in _types(kind, parent, raw) if isinstance(each, inspect.StructType)]
    return found + [str(each.tag) for each in structs if name and each.tag_field == name]


def _fields(kind: Any, path: str, raw: object) -> list[str]:
    found: list[str] = []
    for each in _types(kind, path, raw):
        if isinstance(each, inspect.StructType) and _is_meant(each, at(raw, path)):
            tag = [each.tag_field] if each.tag_field is not None else []
            found += [*tag, *(field.encode_name for field in each.fields)]
    return list(dict.fromkeys(found))


def _types(kind: Any, path: str, raw: object) -> list[inspect.Type]:
    """What the type says may stand at `path`."""
    found, here = list(_members(inspect.type_info(kind))), ""
    for step in _KEY.finditer(path):
        name, value = step[1], at(raw, here)
        found = [
            member
            for each in found
            if not isinstance(each, inspect.StructType) or _is_meant(each, value)
            for inner in _inside(each, name)
            for member in _members(inner)
        ]
        here += step[0]
    return found


def _is_meant(struct: inspect.StructType, value: object) -> bool:
    """Whether the tag, where there is one, says that it is this type."""
    if struct.tag_field is None or not isinstance(value, dict):
        return True
    return cast("dict[str, Any]", value).get(struct.tag_field) == struct.tag


def _inside(kind: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.StructType) and name is not None:
        yield from (field.type for field in kind.fields if field.encode_name == name)
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
    elif isinstance(kind, (inspect.VarTupleType, inspect.ListType)) and name is None:
        yield kind.item_type


def _members(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        yield from _members(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _members(each)
    else:
        yield kind
