"""What model servers take and give, as rows: the request and response bodies of the well-known protocols.

    body                                   protocol
    inputs / outputs: tensors              Open Inference Protocol V2 (name, shape, datatype, data)
    instances / predictions                V1 (TensorFlow Serving, KServe)
    data: names, ndarray | tensor          Seldon
    dataframe_records, dataframe_split,    MLflow's scoring server, Databricks
    inputs

A row is a mapping from a column's name to its value; columns without a name are told by their place, `0`, `1`, ...
Sources: Open Inference Protocol, "Inference"; TensorFlow Serving, "RESTful API"; Seldon, "Seldon Protocol"; MLflow,
"Deploy a model locally".
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, cast

from streams.gate.rows import MAX_NAME_CHARS

PayloadRow: TypeAlias = dict[str, Any]

MAX_ROWS = 100_000
MAX_DIMENSIONS = 8
_MAX_SIZE = 2**31
_KEYS = ("predictions", "outputs", "instances", "inputs")


class PayloadError(ValueError):
    """A body that cannot be read as rows: `field` is its path in the body."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}")


def rows_of(body: Any) -> list[PayloadRow]:
    """The rows of a request's or a response's body, parsed from JSON. Raises `PayloadError`."""
    return _rows(body)


def csv_rows(text: str) -> list[PayloadRow]:
    """Lines of comma-separated cells without names; a cell that reads as a number is one, an empty one is missing."""
    try:
        found = (line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line)
        lines = list(islice(found, MAX_ROWS + 1))
    except csv.Error as error:
        raise PayloadError("", f"is not CSV: {error}") from error
    _check_rows(len(lines))
    return [{str(i): _cell(cell) for i, cell in enumerate(line)} for line in lines]


def _check_rows(rows: int) -> None:
    """Before memory is taken for them."""
    if rows > MAX_ROWS:
        raise PayloadError(
            "", f"more than {MAX_ROWS} rows in one request, which is the most that are allowed"
        )


def _rows(body: Any) -> list[PayloadRow]:
    if isinstance(body, list):
        return _unnamed(cast("list[Any]", body))
    if not isinstance(body, dict):
        raise PayloadError("", f"{type(body).__name__} is not a body of a known protocol")
    named = cast("dict[str, Any]", body)
    if "dataframe_records" in named:
        records = _list(named, "dataframe_records")
        _check_rows(len(records))
        return [_record(row, i) for i, row in enumerate(records)]
    if "dataframe_split" in named:
        return _split_frame(named["dataframe_split"])
    if "data" in named and isinstance(named["data"], dict):
        return _seldon(cast("dict[str, Any]", named["data"]))
    for key in _KEYS:
        if key in named:
            return _values(key, named[key])
    raise PayloadError("", f"none of {', '.join(_KEYS)}, data, dataframe_records, dataframe_split is there")


def _values(key: str, value: Any) -> list[PayloadRow]:
    if isinstance(value, dict):
        return _columns(key, cast("dict[str, Any]", value))
    if not isinstance(value, list):
        return [{"0": value}]
    values = cast("list[Any]", value)
    if values and all(isinstance(one, dict) and "datatype" in one for one in values):
        return _tensors(key, cast("list[dict[str, Any]]", values))
    return _unnamed(values)


def _unnamed(values: list[Any]) -> list[PayloadRow]:
    _check_rows(len(values))
    found: list[PayloadRow] = []
    for value in values:
        if isinstance(value, dict):
            found.append(cast("PayloadRow", value))
        elif isinstance(value, list):
            found.append({str(i): one for i, one in enumerate(cast("list[Any]", value))})
        else:
            found.append({"0": value})
    return found


def _columns(key: str, columns: Mapping[str, Any]) -> list[PayloadRow]:
    """A mapping of columns, or one row of scalars."""
    lists = [value for value in columns.values() if isinstance(value, list)]
    if len(lists) < len(columns):
        return [dict(columns)]
    sizes = {len(cast("list[Any]", value)) for value in lists}
    if len(sizes) > 1:
        raise PayloadError(key, f"columns of different lengths: {sorted(sizes)[:5]}")
    rows = sizes.pop() if sizes else 0
    _check_rows(rows)
    return [{name: value[i] for name, value in columns.items()} for i in range(rows)]


def _tensors(key: str, tensors: Sequence[Mapping[str, Any]]) -> list[PayloadRow]:
    rows: list[PayloadRow] | None = None
    for number, tensor in enumerate(tensors):
        name, values = _tensor(f"{key}.{number}", tensor)
        if rows is None:
            _check_rows(len(values))
            rows = [{} for _ in values]
        if len(values) != len(rows):
            raise PayloadError(
                f"{key}.{number}", f"has {len(values)} rows; the tensor before has {len(rows)}"
            )
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, list):
                row.update({f"{name}.{i}": one for i, one in enumerate(cast("list[Any]", value))})
            else:
                row[name] = value
    return rows or []


def _tensor(field: str, tensor: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The name, and a value for each row: a scalar, or a flat list where a row holds several."""
    name, shape, data = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise PayloadError(f"{field}.name", f"is not a name of 1 to {MAX_NAME_CHARS} characters")
    if data is None:
        raise PayloadError(f"{field}.data", "is missing; tensors in the binary extension are not read")
    sizes = cast("list[int]", shape)
    if not isinstance(shape, list) or len(sizes) > MAX_DIMENSIONS or not all(map(_is_size, sizes)):
        raise PayloadError(f"{field}.shape", f"is not a list of at most {MAX_DIMENSIONS} sizes")
    flat = _flat(data, f"{field}.data")
    if len(flat) != math.prod(sizes):
        raise PayloadError(
            f"{field}.data", f"has {len(flat)} values; the shape {sizes} needs {math.prod(sizes)}"
        )
    if len(sizes) < 2:
        return name, flat
    width = math.prod(sizes[1:])
    if width == 1:
        return name, flat
    return name, [flat[i * width : (i + 1) * width] for i in range(sizes[0])]


def _flat(data: Any, field: str) -> list[Any]:
    if not isinstance(data, list):
        raise PayloadError(field, "is not a list")
    flat = cast("list[Any]", data)
    for _ in range(8):
        if not any(isinstance(one, list) for one in flat):
            return flat
        flat = [
            inner for one in flat for inner in (cast("list[Any]", one) if isinstance(one, list) else [one])
        ]
    raise PayloadError(field, "is nested too deep")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_SIZE


def _seldon(data: Mapping[str, Any]) -> list[PayloadRow]:
    if "ndarray" in data:
        values = data["ndarray"]
        if not isinstance(values, list):
            raise PayloadError("data.ndarray", "is not a list")
        rows = cast("list[Any]", values)
        rows = rows if any(isinstance(row, list) for row in rows) else [rows]
    elif isinstance(data.get("tensor"), dict):
        tensor = cast("dict[str, Any]", data["tensor"])
        shaped = {"name": "data", "shape": tensor.get("shape"), "data": tensor.get("values")}
        _, rows = _tensor("data.tensor", shaped)
    else:
        raise PayloadError("data", "neither ndarray nor tensor is there")
    names = data.get("names")
    found = _unnamed(rows)
    if not isinstance(names, list) or not names:
        return found
    titles = [str(name) for name in cast("list[Any]", names)]
    if any(len(row) != len(titles) for row in found):
        raise PayloadError("data.names", f"{len(titles)} names for rows of another width")
    return [dict(zip(titles, row.values(), strict=True)) for row in found]


def _split_frame(frame: Any) -> list[PayloadRow]:
    if not isinstance(frame, dict):
        raise PayloadError("dataframe_split", "is not an object with columns and data")
    named = cast("dict[str, Any]", frame)
    rows = _list(named, "data")
    _check_rows(len(rows))
    names = named.get("columns")
    if names is None:
        return _unnamed(rows)
    titles = [str(name) for name in _list(named, "columns")]
    found: list[PayloadRow] = []
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(cast("list[Any]", row)) != len(titles):
            raise PayloadError(f"dataframe_split.data.{i}", f"is not a list of {len(titles)} values")
        found.append(dict(zip(titles, cast("list[Any]", row), strict=True)))
    return found


def _record(row: Any, number: int) -> PayloadRow:
    if not isinstance(row, dict):
        raise PayloadError(f"dataframe_records.{number}", "is not an object")
    return cast("PayloadRow", row)


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list):
        raise PayloadError(name, "is not a list")
    return cast("list[Any]", value)


def _cell(text: str) -> float | str | None:
    text = text.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text
