"""Schemas as files, and as drafts from data."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control.schema_file import SchemaFileInvalid, read_schema_file, schema_yaml
from streams.control.schema_infer import infer_schema
from streams.control.schemas import (
    FeatureSchema,
    Schema,
    SchemaInvalid,
    build_schema,
)
from streams.files.tables import FileInvalid, TableFile
from tests.streams.schema_parts import PETS

WHOLE = """
model: pets
version: 2
task: multiclass
classes: [cat, dog, owl]
features:
  - {name: age, type: float32}
  - {name: breed, kind: categorical}
  - {name: picture, kind: embedding, size: 512, optional: true}
  - name: weight
segments: [region]
"""


def read(folder: Path, text: str, name: str = "schema.yaml") -> Schema:
    (folder / name).write_text(text, encoding="utf-8")
    return read_schema_file(folder / name)


# The file


def test_what_is_left_out_follows_from_the_rest(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == PETS


def test_json_says_the_same(tmp_path: Path) -> None:
    data = {
        "model": "\U0001f600",
        "version": "1",
        "features": [{"name": "a\U0001f98a", "type": "text"}],
    }
    found = read(tmp_path, json.dumps(data), "schema.json")
    assert (found.model, found.features[0].name, found.features[0].kind) == ("😀", "a🦊", "categorical")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("model: pets", "modell: pets"),
            r"model: it must be given\n.*modell is 'pets': there is no such field",
        ),
        (("version: 2", "version: 1.10"), r"version is 1\.1: it must be text; put it into quotes"),
        (("version: 2", "version: true"), r"version is True: it must be text"),
        (("[cat, dog, owl]", "[yes, dog]"), r"classes\.0 is True: it must be text; put it into quotes"),
        (("[cat, dog, owl]", "[cat]"), "1 classes; task multiclass has at least 2"),
        (("multiclass", "ranking"), "task is 'ranking': .*'binary', 'multiclass' or 'regression'"),
        (("kind: categorical", "kind: category"), r"features\.1 \(breed\): kind is 'category': .*'numeric'"),
        (("type: float32", "type: string"), r"features\.0 \(age\): type is 'string': .*'float64'"),
        (
            ("{name: age, type: float32}", "{name: age, type: text, kind: numeric}"),
            r"features\.0 \(age\): type is 'text'; a feature of kind numeric is one of float64, float32",
        ),
        (
            (", size: 512", ""),
            r"features\.2 \(picture\): size is not given; an embedding has one, such as 512",
        ),
        (
            ("name: weight", "name: weight\n    size: 3"),
            r"features\.3 \(weight\): size is 3; only an embedding",
        ),
        (("size: 512", "size: 5000"), "size 5000; an embedding has 1 to 4096"),
        (("name: weight", "name: age"), r"features has the names \['age'\]; each needs its own"),
        (
            ("name: weight", "nome: weight"),
            r"features\.3\.name: it must be given\n.*features\.3\.nome is 'weight': there is no such field",
        ),
        (("model: pets", "model: [pets"), "this is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    assert change[0] in WHOLE
    with pytest.raises(SchemaFileInvalid, match=rf"(?s)schema\.yaml: .*{words}"):
        read(tmp_path, WHOLE.replace(*change))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "- pets", "it must hold fields"),
        ("a.yaml", "model: m\nmodel: n\n", "line 2, model stands there twice, first in line 1"),
        ("a.yaml", "model: m\nversion: '1'\nfeatures: []", "features is .*at least 1 item"),
        ("a.yaml", "model: m\nversion: '1'\nfeatures: {age: float64}", "features: .*list"),
        ("a.yaml", "model: m\nversion: '1'\nfeatures: [age]", r"features\.0 is 'age'"),
        ("a.json", "model: m", "this is not JSON"),
        ("a.json", "[" * 100_000, "this is not JSON"),
    ],
)
def test_what_is_no_schema_at_all(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(SchemaFileInvalid, match=words):
        read(tmp_path, text, name)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
def test_a_schema_survives_its_file(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    names = [name.encode(errors="replace").decode() for name in names]
    try:
        schema = build_schema("1", "2.10", [FeatureSchema(name=name) for name in names], segments=names)
    except SchemaInvalid:
        return
    path = tmp_path_factory.getbasetemp() / "again.yaml"
    path.write_bytes(schema_yaml(schema, ("revision", "x")).encode())
    assert read_schema_file(path) == schema


@pytest.mark.parametrize(
    "name", ["yes", "null", "1", "1.5", "# a", "a: b", "- x", "2026-01-01", "~", "'", "\n"]
)
def test_names_that_yaml_would_read_otherwise_are_quoted(tmp_path: Path, name: str) -> None:
    schema = build_schema(name, name, [FeatureSchema(name=name)], classes=[name, "b"], segments=[name])
    assert read(tmp_path, schema_yaml(schema)) == schema


# A draft from data


def test_a_draft_from_a_csv(tmp_path: Path) -> None:
    text = "id,time,age,city,active,y\na,2026-01-01T00:00:00,3,Rome,true,1\nb,2026-01-02T00:00:00,4,Oslo,false,0\n"
    (tmp_path / "d.csv").write_text(text)
    found = infer_schema(TableFile(tmp_path / "d.csv"), "m", "1", leave_out=["y"], segments=["city"])
    assert [(one.name, one.kind, one.type) for one in found.schema.features] == [
        ("age", "numeric", "float64"),
        ("city", "categorical", "any"),
        ("active", "categorical", "any"),
    ]
    assert found.schema.segments == ("city",)
    assert found.notes == (
        "no feature: 'id' (a column of the contract by its name)",
        "no feature: 'time' (a column of the contract by its name)",
    )


def test_a_draft_from_parquet(tmp_path: Path) -> None:
    columns = {
        "small": pa.array([1.0, 2.0], pa.float32()),
        "count": pa.array([1, None]),
        "city": pa.array(["a", "b"]).dictionary_encode(),
        "at": pa.array([1, 2], pa.timestamp("us")),
        "fixed": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2)),
        "lists": pa.array([[1.0, 2.0, 3.0], None]),
        "ragged": pa.array([[1.0, 2.0], [1.0]]),
        "words": pa.array([["a"], ["b"]]),
        "bytes": pa.array([b"a", b"b"]),
    }
    parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    found = infer_schema(TableFile(tmp_path / "d.parquet"), "m", "1", task="regression")
    assert [(one.name, one.type, one.size) for one in found.schema.features] == [
        ("small", "float32", 1),
        ("count", "int64", 1),
        ("city", "any", 1),
        ("fixed", "vector", 2),
        ("lists", "vector", 3),
    ]
    assert [note.split("'")[1] for note in found.notes] == ["at", "ragged", "words", "bytes"]
    assert "lists of 1, 2 numbers" in found.notes[1]


def test_columns_of_the_archive_are_features_by_their_prefix(tmp_path: Path) -> None:
    columns = {"id": ["a"], "row": [1], "score": [0.5], "s.region": ["eu"], "f.score": [1.0], "f.city": ["x"]}
    parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    found = infer_schema(TableFile(tmp_path / "d.parquet"), "m", "1")
    assert [one.name for one in found.schema.features] == ["score", "city"]
    assert (found.schema.segments, found.notes) == (("region",), ())


def test_a_file_without_features_or_columns_is_told(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,time\na,2026-01-01T00:00:00\n")
    table = TableFile(tmp_path / "d.csv")
    with pytest.raises(FileInvalid, match="none of its columns can be a feature: no feature: 'id'"):
        infer_schema(table, "m", "1")
    with pytest.raises(FileInvalid, match=r"there are no columns \['y'\]; it has \['id', 'time'\]"):
        infer_schema(table, "m", "1", leave_out=["y"])
