"""Schemas of model versions, and what becomes of a batch that does not look as its schema says."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import re
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from detectors.reference import build_reference
from detectors.values import FeatureSpec
from homeostat import contract
from homeostat.batches import LABEL_FIELDS, PREDICTION_FIELDS, SCORES_COLUMN, TRACE_COLUMN
from homeostat.contract import LabelBatch, PredictionBatch, decode, encode_predictions, headers_of
from streams.control.evolution import MAX_TOLD, check, class_indices, compare, outcomes
from streams.control.schemas import (
    FeatureSchema,
    FeatureType,
    Schema,
    SchemaInvalid,
    build_schema,
    schema_of_reference,
    schema_record,
)

AGE = FeatureSchema(name="age")
SEX = FeatureSchema(name="sex", kind="categorical", type="text")
CODE = FeatureSchema(name="code", kind="categorical", type="any")
PICTURE = FeatureSchema(name="picture", kind="embedding", type="vector", size=3)
FEATURES = [AGE, SEX, CODE, PICTURE]


def pets(**changes: object) -> Schema:
    schema = build_schema(
        "pets", "2", FEATURES, task="multiclass", classes=["cat", "dog", "owl"], segments=["region"]
    )
    return msgspec.structs.replace(schema, **changes)


def batch(
    features: dict[str, pa.Array] | None = None,
    predictions: npt.ArrayLike = (0.0, 1.0),
    class_scores: npt.ArrayLike | None = None,
    segments: dict[str, list[str | None]] | None = None,
    schema: str | None = None,
) -> PredictionBatch:
    """A decoded batch of two rows: as the schema says, but for what is given."""
    plain = PredictionBatch.of(
        model="pets",
        version="2",
        producer="p",
        sequence=1,
        ids=["a", "b"],
        times_us=[1, 2],
        predictions=predictions,
        class_scores=class_scores,
        segments={"region": ["eu", "us"]} if segments is None else segments,
        schema=schema,
    )
    columns = plain.columns
    good = {
        "age": pa.array([1.0, 2.0]),
        "sex": pa.array(["m", "f"]),
        "code": pa.array([1.0, 2.0]),
        "picture": pa.array([[1.0, 2.0, 3.0]] * 2, pa.list_(pa.float32(), 3)),
    }
    for name, column in {**good, **(features or {})}.items():
        if column is not None:
            columns = columns.append_column(f"f.{name}", column)
    sent = PredictionBatch(
        columns=columns, model="pets", version="2", producer="p", sequence=1, schema=schema
    )
    found = decode(encode_predictions(sent), headers_of(sent))
    assert isinstance(found, PredictionBatch)
    return found


def labels(values: npt.ArrayLike) -> LabelBatch:
    return LabelBatch.of(
        model="pets", producer="p", sequence=1, ids=["a", "b"], times_us=[1, 2], values=values
    )


def test_a_batch_as_the_schema_says_is_accepted_without_a_word() -> None:
    found = check(pets(), batch())
    assert found.accepted
    assert not found.notable


def test_a_new_feature_is_accepted_and_told() -> None:
    found = check(pets(), batch({"income": pa.array([1.0, 2.0])}))
    assert (found.accepted, found.new) == (True, ("income",))


def test_a_dropped_feature_is_accepted_and_told() -> None:
    found = check(pets(), batch({"age": None}))
    assert (found.accepted, found.dropped) == (True, ("age",))


def test_an_optional_feature_may_be_absent_without_a_word() -> None:
    optional = msgspec.structs.replace(AGE, optional=True)
    schema = build_schema("pets", "2", [optional, SEX, CODE, PICTURE], segments=["region"])
    assert not check(schema, batch({"age": None})).notable


def test_new_and_dropped_segments_are_told() -> None:
    found = check(pets(), batch(segments={"shop": ["1", "2"]}))
    assert (found.accepted, found.new_segments, found.dropped_segments) == (True, ("shop",), ("region",))


@pytest.mark.parametrize("type", [pa.float64(), pa.float32(), pa.int64(), pa.bool_()])
@pytest.mark.parametrize("expected", ["float64", "float32", "int64", "bool"])
def test_numbers_are_read_as_numbers_of_any_width(type: pa.DataType, expected: FeatureType) -> None:
    schema = build_schema("pets", "2", [FeatureSchema(name="age", type=expected)], segments=["region"])
    found = check(schema, batch({"age": pa.array([0, 1]).cast(type)}))
    assert (found.accepted, found.refused) == (True, None)


TEXT = pa.array(["a", "b"])
NUMBERS = pa.array([1.0, 2.0])
NOTHING = pa.array([None, None], pa.float64())
NANS = pa.array([np.nan, np.nan])
NO_TEXT = pa.array([None, None], pa.string())
VECTORS = pa.array([[1.0, 2.0, 3.0]] * 2, pa.list_(pa.float32(), 3))
SHORT = pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("age", TEXT, "a number (float64), or null in every row"),
        ("age", TEXT.dictionary_encode(), "a number (float64), or null in every row"),
        ("age", VECTORS, "a number (float64), or null in every row"),
        ("sex", NUMBERS, "text, or null in every row"),
        ("sex", pa.array([True, None]), "text, or null in every row"),
        ("code", VECTORS, "text or a number, or null in every row"),
        ("picture", SHORT, "an embedding of size 3, or null in every row"),
        ("picture", NUMBERS, "an embedding of size 3, or null in every row"),
        ("picture", TEXT, "an embedding of size 3, or null in every row"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, column: pa.Array, expected: str) -> None:
    found = check(pets(), batch({name: column}))
    assert found.refused is not None
    assert not found.accepted
    assert (found.refused.field, found.refused.expected) == (f"column f.{name}", expected)


@pytest.mark.parametrize("column", [NOTHING, NANS, NO_TEXT, NO_TEXT.dictionary_encode()])
@pytest.mark.parametrize("name", ["age", "sex", "code", "picture"])
def test_what_is_missing_in_every_row_may_come_as_anything(name: str, column: pa.Array) -> None:
    assert check(pets(), batch({name: column})).accepted


def test_categories_of_type_any_come_as_text_or_numbers() -> None:
    assert not check(pets(), batch({"code": TEXT})).notable
    assert not check(pets(), batch({"code": NUMBERS})).notable


def test_the_same_columns_can_be_refused_in_one_batch_and_pass_in_the_next() -> None:
    schema = pets()
    for column, accepted in ((NO_TEXT, True), (TEXT, False), (NO_TEXT, True)):
        assert check(schema, batch({"age": column})).accepted == accepted


def test_classes_that_the_schema_does_not_have_are_told_and_count_as_other() -> None:
    found = batch(predictions=np.array(["fox", "owl"]))
    evolution = check(pets(), found)
    assert (evolution.accepted, evolution.unknown_classes) == (True, ("fox",))
    assert outcomes(pets(), found).tolist() == [-1.0, 2.0]
    assert check(pets(), labels(["dog", "emu"])).unknown_classes == ("emu",)
    assert outcomes(pets(), labels(["dog", "emu"])).tolist() == [1.0, -1.0]


def test_only_so_many_unknown_classes_are_told() -> None:
    many = LabelBatch.of(
        model="pets",
        producer="p",
        sequence=1,
        ids=[str(i) for i in range(10_000)],
        times_us=np.arange(10_000),
        values=[f"class-{i}" for i in range(10_000)],
    )
    assert len(check(pets(), many).unknown_classes) == MAX_TOLD


def test_class_indices_follow_the_schema() -> None:
    codes = np.array([0, 1, 2, -1])
    np.testing.assert_array_equal(class_indices(pets(), ["owl", "cat", "fox"], codes), [2, 0, -1, np.nan])
    np.testing.assert_array_equal(class_indices(pets(), [], np.array([-1, -1])), [np.nan, np.nan])


def test_indices_that_the_schema_does_not_have_count_as_other() -> None:
    assert outcomes(pets(), batch(predictions=[2.0, 3.0])).tolist() == [2.0, -1.0]
    assert outcomes(pets(), labels([-5.0, 0.5])).tolist() == [-1.0, -1.0]


def test_an_unknown_class_of_a_binary_model_is_neither_0_nor_1() -> None:
    schema = build_schema("loans", "1", [AGE], classes=["no", "yes"])
    np.testing.assert_array_equal(outcomes(schema, labels(["yes", "maybe"])), [1.0, np.nan])


@pytest.mark.parametrize(
    ("task", "classes", "right", "wrong"),
    [("multiclass", ("cat", "dog", "owl"), 3, 2), ("binary", (), 2, 3), ("regression", (), None, 2)],
)
def test_scores_are_one_for_each_class(
    task: str, classes: tuple[str, ...], right: int | None, wrong: int
) -> None:
    schema = pets(task=task, classes=classes)
    assert right is None or check(schema, batch(class_scores=np.full((2, right), 1 / right))).accepted
    found = check(schema, batch(class_scores=np.full((2, wrong), 1 / wrong))).refused
    assert found is not None
    assert (found.field, found.found) == ("column scores", f"{wrong} scores")


@pytest.mark.parametrize(
    ("task", "expected"),
    [("regression", "a number (task regression)"), ("binary", "0 or 1: the schema names no classes")],
)
def test_text_where_a_number_is_due_is_refused(task: str, expected: str) -> None:
    schema = pets(task=task, classes=())
    for found in (check(schema, labels(["dog", "cat"])), check(schema, batch(predictions=["dog", "cat"]))):
        assert found.refused is not None
        assert expected in found.refused.expected


def test_a_producer_that_works_by_another_schema_is_told() -> None:
    schema = pets()
    assert check(schema, batch(schema=schema.revision)).believed is None
    assert check(schema, batch(schema="older")).believed == "older"


def test_a_schema_is_named_by_its_content_and_read_back() -> None:
    schema = pets()
    key, value = schema_record(msgspec.structs.replace(schema, model="a/b"))
    assert key == b"schema/a%2Fb/2"
    assert Schema.from_json(schema.to_json()) == schema
    assert len(schema.revision) == 16
    with pytest.raises(SchemaInvalid, match="does not name this content"):
        Schema.from_json(value)
    assert build_schema("pets", "2", [AGE]).revision != build_schema("pets", "2", [SEX]).revision


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"model":1}', b"[" * 100_000])
def test_what_is_no_schema_is_refused(text: bytes) -> None:
    with pytest.raises(SchemaInvalid, match="not the JSON of a schema"):
        Schema.from_json(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": [AGE, AGE]}, r"features has the names \['age'\]"),
        ({"features": [FeatureSchema(name="")]}, "features has the names"),
        ({"classes": ["a"]}, "1 classes; task binary"),
        ({"task": "multiclass"}, "0 classes; task multiclass has at least 2"),
        ({"task": "regression", "classes": ["a", "b"]}, "2 classes; task regression"),
        ({"features": [FeatureSchema(name="a", type="text")]}, "numeric feature 'a' is text"),
        ({"features": [FeatureSchema(name="a", size=2)]}, "has size 2"),
        ({"features": [msgspec.structs.replace(PICTURE, size=5_000)]}, "has size 5000"),
        ({"features": [FeatureSchema(name=str(i)) for i in range(5_000)]}, "5000 names"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"features": [AGE], **changes}
    with pytest.raises(SchemaInvalid, match=message):
        build_schema("m", "1", **arguments)  # type: ignore[arg-type]


def test_the_schema_of_a_reference_takes_what_the_reference_measures() -> None:
    specs = [FeatureSpec(name="age"), FeatureSpec(name="sex", kind="categorical")]
    columns = {"age": np.arange(4.0), "sex": np.array(["m", "f", "m", "f"], dtype=object)}
    schema = schema_of_reference(build_reference("pets", "2", columns, specs))
    assert [(f.name, f.kind, f.type) for f in schema.features] == [
        ("age", "numeric", "float64"),
        ("sex", "categorical", "any"),
    ]
    assert (schema.model, schema.version, schema.task) == ("pets", "2", "binary")
    found = check(schema, batch())
    assert (found.accepted, found.new, found.new_segments) == (True, ("code", "picture"), ("region",))


def test_the_schema_of_a_reference_has_its_task_classes_and_embeddings() -> None:
    columns = {"picture": np.arange(12, dtype=np.float32).reshape(4, 3)}
    specs = [FeatureSpec(name="picture", kind="embedding", size=3)]
    reference = build_reference(
        "pets",
        "2",
        columns,
        specs,
        predictions=np.array([0.0, 1, 1, 0]),
        task="multiclass",
        classes=["cat", "dog"],
    )
    schema = schema_of_reference(reference)
    assert (schema.task, schema.classes) == ("multiclass", ("cat", "dog"))
    assert schema.features == (PICTURE,)


def test_a_change_of_schema_says_what_it_breaks() -> None:
    old = pets()
    new = build_schema(
        "pets",
        "3",
        [
            FeatureSchema(name="age", type="float32", optional=True),
            FeatureSchema(name="sex", kind="categorical", type="int64"),
            msgspec.structs.replace(PICTURE, size=4),
            FeatureSchema(name="income"),
        ],
        task="multiclass",
        classes=["cat", "dog", "owl", "fox"],
        segments=["shop"],
    )
    assert compare(old, old) == []
    assert {(change.field, change.rule, change.breaks) for change in compare(old, new)} == {
        ("classes", "classes added at the end", True),
        ("f.income", "new feature", False),
        ("f.code", "dropped feature", False),
        ("f.age", "type of a number", False),
        ("f.age", "optional changed", False),
        ("f.sex", "type changed", True),
        ("f.picture", "embedding size changed", True),
        ("s.shop", "new segment", False),
        ("s.region", "dropped segment", False),
    }
    assert {change.rule for change in compare(old, pets(classes=("dog", "cat", "owl")))} == {
        "classes renamed, moved or removed"
    }
    assert ("task", True) in {(c.field, c.breaks) for c in compare(old, pets(task="regression", classes=()))}


@pytest.mark.parametrize("column", [TEXT, NUMBERS, VECTORS, SHORT, pa.array([True, False])])
@pytest.mark.parametrize("old", [AGE, SEX, CODE, PICTURE, msgspec.structs.replace(PICTURE, size=2)])
@pytest.mark.parametrize("new", [AGE, SEX, CODE, PICTURE, msgspec.structs.replace(PICTURE, size=2)])
def test_a_change_that_breaks_nothing_refuses_no_batch_that_passed(
    column: pa.Array, old: FeatureSchema, new: FeatureSchema
) -> None:
    before = build_schema("m", "1", [msgspec.structs.replace(old, name="x")])
    after = build_schema("m", "2", [msgspec.structs.replace(new, name="x")])
    if any(change.breaks for change in compare(before, after)):
        return
    sent = batch({"x": column})
    assert not check(before, sent).accepted or check(after, sent).accepted


def test_the_examples_of_the_documentation_run() -> None:
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(example, names)


def test_the_documentation_names_every_header_and_column() -> None:
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    headers = [value for name, value in vars(contract).items() if name.startswith("HEADER_")]
    columns = [field.name for field in (*PREDICTION_FIELDS, *LABEL_FIELDS)]
    for name in (*headers, *columns, SCORES_COLUMN, TRACE_COLUMN):
        assert f"`{name}`" in text, name
