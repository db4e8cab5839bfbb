"""What is wrong in a file that people write, so that they can put it right: the value, and what could stand there."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import msgspec
import yaml
from msgspec import inspect

FromText = Callable[[Any, Any], Any]
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""The pattern of the name of an environment variable."""
_VARIABLES = "^[A-Za-z_][A-Za-z0-9_]"
"""How every such pattern begins, also one that says how long the name may be."""
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


def mistakes(
    raw: object, kind: Any, path: str = "", from_text: FromText | None = None
) -> Iterator[tuple[str, str]]:
    """Everything that is wrong in `raw`, field by field, each as `mistake` gives it; for what is wrong only as a whole,
    that."""
    whole = mistake(raw, kind, path, from_text)
    if whole is None:
        return
    found = False
    for what in _names_wrong(raw, kind):
        found = True
        yield what, path
    for part, inner, place in _parts(raw, kind, path):
        for each in mistakes(part, inner, place, from_text):
            found = True
            yield each
    if not found:
        yield whole


def line_of(content: bytes, path: str) -> int | None:
    """In which line of a YAML file that stands which a path of `mistakes` leads to, or the innermost of what is around
    it; None where the file cannot be read."""
    try:
        node: Any = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if node is None:
        return None
    line: int = node.start_mark.line
    for name, index in _KEY.findall(path):
        if isinstance(node, yaml.MappingNode) and name:
            below = next((pair for pair in node.value if pair[0].value == name), None)
            if below is None:
                break
            line, node = below[0].start_mark.line, below[1]
        elif isinstance(node, yaml.SequenceNode) and index.isdigit() and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _repeated(content: bytes) -> Iterator[tuple[str, int, int]]:
    """The path of each name that a YAML mapping holds a second time, its line, and that of the first: readers take the
    last one without a word. Nothing where the file cannot be read."""
    try:
        root: Any = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return
    waiting: list[tuple[Any, str]] = [(root, "")]
    seen: set[int] = set()
    while waiting:
        node, path = waiting.pop(0)
        if id(node) in seen:
            # An alias may stand for what is around it.
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(each, f"{path}[{position}]") for position, each in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                place, line = f"{path}.{key.value}", key.start_mark.line + 1
                if place in lines:
                    yield place, line, lines[place]
                lines.setdefault(place, line)
                waiting.append((value, place))


def twice(content: bytes) -> list[str]:
    """A sentence for each name that a YAML mapping holds a second time."""
    return [
        f"line {line}, {place.lstrip('.')} stands there twice, first in line {first}: only one of them would count"
        for place, line, first in _repeated(content)
    ]


def listed(file: object, wrong: Iterable[str]) -> str:
    """Everything that is wrong in a file, each in a line of its own that begins with the file's name."""
    return "\n".join(f"{file}: {each}" for each in wrong)


def told(what: str, path: str, raw: object, kind: Any) -> tuple[str, str]:
    """The value at `path` of `raw` as people are shown it, empty where it is no single one, and what is wrong with it
    together with what would be right. `kind`: the type that `raw` should have."""
    if _VARIABLES in what:
        return "", _NO_VARIABLE
    value, choices = at(raw, path), _choices(kind, path, raw)
    unknown, missing = _UNKNOWN.match(what), _MISSING.match(what)
    if unknown is not None:
        what += offer(unknown["name"], _fields(kind, path, raw), "known are")
    elif missing is not None:
        what += offer(None, _choices(kind, f"{path}.{missing['name']}", raw), "there are")
    elif choices:
        what += offer(value, choices, "there are")
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


def offer(value: object, choices: Iterable[str], lead: str) -> str:
    """What the value may have been meant to be, and what there is; empty where nothing is."""
    known = list(choices)
    near = get_close_matches(value, known, n=1) if isinstance(value, str) else []
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{meant} ({lead}: {', '.join(known)})" if known else ""


def _names_wrong(raw: object, kind: Any) -> Iterator[str]:
    struct = _struct(raw, kind)
    if struct is None or not isinstance(raw, dict):
        return
    tag = struct.__struct_config__.tag_field
    fields = msgspec.structs.fields(struct)
    known = {each.encode_name for each in fields} | ({tag} if tag else set())
    said = cast("dict[object, object]", raw)
    if struct.__struct_config__.forbid_unknown_fields:
        yield from (f"Object contains unknown field `{name}`" for name in said if name not in known)
    for each in fields:
        if each.required and each.encode_name not in said:
            yield f"Object missing required field `{each.encode_name}`"


def _parts(raw: object, kind: Any, path: str) -> Iterator[tuple[object, Any, str]]:
    """What is inside, each with its type and path; nothing for what has no parts, or may be of several kinds."""
    struct = _struct(raw, kind)
    if isinstance(raw, dict):
        said = cast("dict[Any, object]", raw)
        if struct is not None:
            for each in msgspec.structs.fields(struct):
                if each.encode_name in said:
                    yield said[each.encode_name], each.type, f"{path}.{each.encode_name}"
        elif get_origin(_plain(kind)) is dict:
            for name, value in said.items():
                yield value, get_args(_plain(kind))[1], f"{path}.{name}"
    elif isinstance(raw, list) and get_origin(_plain(kind)) in (tuple, list):
        for position, value in enumerate(cast("list[object]", raw)):
            yield value, get_args(_plain(kind))[0], f"{path}[{position}]"


def _struct(raw: object, kind: Any) -> type[msgspec.Struct] | None:
    """The type of struct that a mapping is meant to be, of those that `kind` allows."""
    plain = _plain(kind)
    members = get_args(plain) if get_origin(plain) in (Union, UnionType) else (plain,)
    structs = [each for each in members if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    if len(structs) == 1:
        return structs[0]
    for each in structs:
        config = each.__struct_config__
        if (
            config.tag_field
            and isinstance(raw, dict)
            and cast("Any", raw).get(config.tag_field) == config.tag
        ):
            return each
    return None


def _plain(kind: Any) -> Any:
    """The type without what `Annotated` says of it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


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
