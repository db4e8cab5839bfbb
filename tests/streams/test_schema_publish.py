"""Schemas on the control topic: what is in force, registering another one, and the words for it."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import msgspec
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from homeostat.contract import PredictionBatch, decode, encode_predictions, headers_of
from streams.control.bus import publish_reference
from streams.control.configuration import Configuration, reference_record
from streams.control.evolution import Evolution, check, compare
from streams.control.schema_publish import decide, published_schemas, register_schema
from streams.control.schema_words import consequence
from streams.control.schemas import (
    FeatureSchema,
    Schema,
    build_schema,
    schema_of_reference,
    schema_record,
)
from streams.profile.intake import take_in
from streams.profile.outputs import Outputs
from streams.stages import InputRecord
from streams.topics import CONTROL
from tests.streams.schema_parts import PETS
from tests.streams.stream_data import make_reference
from tests.streams.test_monitor_file import Bus


def changed(schema: Schema, **fields: object) -> Schema:
    """The same but for some fields, named anew."""
    draft = msgspec.structs.replace(schema, **fields)
    return build_schema(
        draft.model,
        draft.version,
        draft.features,
        task=draft.task,
        classes=draft.classes,
        segments=draft.segments,
    )


def with_feature(feature: FeatureSchema) -> Schema:
    return build_schema("pets", "2", [feature])


# On the control topic


async def put(bus: Bus, record: tuple[bytes, bytes]) -> None:
    await bus.publish(CONTROL, key=record[0], value=record[1])


def followed(bus: Bus) -> Configuration:
    """What a worker makes of it, in which nothing is odd."""
    configuration = Configuration()
    with capture_logs() as logs:
        for message in bus.messages:
            configuration.apply(message.key, message.value)
    assert logs == []
    return configuration


async def test_a_reference_is_published_with_the_schema_that_it_implies() -> None:
    bus, reference = Bus(), make_reference("a/b", "1")
    await publish_reference(bus, reference)
    assert [message.key for message in bus.messages] == [
        reference_record(reference)[0],
        b"implied-schema/a%2Fb/1",
    ]
    implied = schema_of_reference(reference)
    assert Schema.from_json(bus.messages[1].value or b"") == implied
    (known,) = (await published_schemas(bus)).schemas
    assert (known.schema, known.origin) == (implied, "reference")
    assert followed(bus).schema("a/b", "1") == implied


async def test_what_a_person_registered_is_in_force_whatever_is_announced_later() -> None:
    bus, reference = Bus(), make_reference("loan", "1")
    by_hand = build_schema("loan", "1", [FeatureSchema(name="age", type="int64")])
    await publish_reference(bus, reference)
    await put(bus, schema_record(by_hand))
    await publish_reference(bus, make_reference("loan", "1", seed=9))
    (known,) = (await published_schemas(bus)).schemas
    assert (known.schema, known.origin) == (by_hand, "registered")
    assert followed(bus).schema("loan", "1") == by_hand


async def test_the_newest_reference_counts_also_where_somebody_published_it_alone() -> None:
    bus, reference = Bus(), make_reference("loan", "1")
    other = build_schema("loan", "1", [FeatureSchema(name="old")])
    await put(bus, (b"implied-schema/loan/1", other.to_json()))
    assert (await published_schemas(bus)).schemas[0].schema == other
    await put(bus, reference_record(reference))
    assert (await published_schemas(bus)).schemas[0].schema == schema_of_reference(reference)


async def test_the_newest_version_is_the_one_made_known_last() -> None:
    bus = Bus()
    for version in ("1", "2", "1"):
        await publish_reference(bus, make_reference("loan", version))
    await put(bus, schema_record(PETS))
    await put(bus, (b"schema/loan/9", b"{"))
    await put(bus, (b"monitor/loan/1", b"{"))
    await put(bus, (b"reference/loan/3/abc", b"{}"))
    found = await published_schemas(bus)
    assert [known.schema.version for known in found.of("loan")] == ["2", "1"]
    newest = found.find("loan", None)
    assert newest is not None
    assert newest.schema.version == "1"
    assert found.find("loan", "3") is None
    assert set(found.unreadable) == {"schema/loan/9", "reference/loan/3"}


async def test_a_reference_that_implies_no_schema_is_published_all_the_same() -> None:
    reference = make_reference("loan", "1")
    twice = msgspec.structs.replace(reference, features=reference.features * 2)
    bus = Bus()
    with capture_logs() as logs:
        await publish_reference(bus, twice)
    assert len(bus.messages) == 1
    assert "each needs its own" in logs[0]["reason"]


async def test_registering_is_idempotent_and_refuses_what_breaks() -> None:
    bus = Bus()
    first = await register_schema(bus, PETS)
    assert (first.outcome, first.before, first.changes) == ("registered", None, ())
    assert (await register_schema(bus, PETS)).outcome == "unchanged"
    more = [*PETS.features, FeatureSchema(name="legs")]
    third = changed(PETS, version="3", features=more)
    assert (await register_schema(bus, third, dry_run=True)).outcome == "would register"
    assert len(bus.messages) == 1
    found = await register_schema(bus, third)
    assert [change.rule for change in found.changes] == ["new feature"]
    text = FeatureSchema(name="age", kind="categorical", type="text")
    fourth = changed(PETS, version="4", features=[text, *more[1:]])
    refused = await register_schema(bus, fourth)
    assert (refused.outcome, [change.field for change in refused.breaking]) == ("refused", ["f.age"])
    assert refused.before is not None
    assert refused.before.schema == third, "the newest of the model"
    assert len(bus.messages) == 2
    assert (await register_schema(bus, fourth, force=True)).outcome == "registered"
    again = changed(PETS, segments=["region", "shop"])
    own = await register_schema(bus, again)
    assert (own.outcome, [change.rule for change in own.changes]) == ("registered", ["new segment"])
    assert followed(bus).schema("pets", "2") == again, "compared with its own version, not with the newest"


async def test_what_a_reference_implies_can_be_pinned() -> None:
    bus, reference = Bus(), make_reference("loan", "1")
    await publish_reference(bus, reference)
    implied = schema_of_reference(reference)
    found = decide(implied, await published_schemas(bus), force=False)
    assert (found.outcome, found.changes) == ("registered", ())


# In words

AGE = FeatureSchema(name="x")
KINDS = [
    AGE,
    FeatureSchema(name="x", type="int64"),
    FeatureSchema(name="x", kind="categorical", type="text"),
    FeatureSchema(name="x", kind="categorical", type="any"),
    FeatureSchema(name="x", kind="embedding", type="vector", size=2),
    FeatureSchema(name="x", kind="embedding", type="vector", size=3),
    FeatureSchema(name="x", optional=True),
]
SENT = {
    "a number": pa.array([1.0, 2.0]),
    "text": pa.array(["a", "b"]),
    "an embedding": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2)),
    "2 numbers": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2)),
    "3 numbers": pa.array([[1.0, 2.0, 3.0]] * 2, pa.list_(pa.float32(), 3)),
}


def sent(column: pa.Array) -> PredictionBatch:
    plain = PredictionBatch.of(
        model="pets",
        version="2",
        producer="p",
        sequence=1,
        ids=["a", "b"],
        times_us=[1, 2],
        predictions=[0, 1],
    )
    whole = PredictionBatch(
        columns=plain.columns.append_column("f.x", column),
        model="pets",
        version="2",
        producer="p",
        sequence=1,
    )
    found = decode(encode_predictions(whole), headers_of(whole))
    assert isinstance(found, PredictionBatch)
    return found


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_what_is_said_of_a_change_is_what_happens(old: FeatureSchema, new: FeatureSchema) -> None:
    for change in compare(with_feature(old), with_feature(new)):
        told = consequence(change)
        assert told
        named = [
            column for words, column in SENT.items() if f"{words} are" in told or f"as {words} or" in told
        ]
        assert bool(named) == change.breaks, told
        for column in named:
            fits = old.type != "vector" or old.size == column.type.list_size
            if fits:
                assert check(with_feature(old), sent(column)).accepted
                assert not check(with_feature(new), sent(column)).accepted


def test_every_other_change_is_put_into_words() -> None:
    for one in (
        changed(PETS, task="regression", classes=(), segments=()),
        changed(PETS, classes=(*PETS.classes, "fox")),
        changed(PETS, classes=("dog", "cat", "owl")),
        changed(PETS, features=(*PETS.features[1:], AGE), segments=("shop",)),
    ):
        changes = compare(PETS, one)
        assert changes
        assert all(len(consequence(change)) > 10 for change in changes)


def test_a_dead_letter_says_what_can_be_done() -> None:
    schema, batch = with_feature(AGE), sent(SENT["text"])
    record = InputRecord(
        topic="t",
        partition=0,
        offset=7,
        timestamp_us=3,
        key=b"",
        value=b"whole",
        headers=tuple(headers_of(batch)),
    )
    taken = take_in(record, batch, schema, 300.0)
    assert (taken.batch, taken.refused) == (None, 2)
    reason = taken.letters[0].reason
    assert reason.startswith("column f.x: found string; expected a number (float64), or null in every row. ")
    assert f"version 2 (revision {schema.revision})" in reason
    assert "(2 rows)" in reason
    assert "`homeostat schemas show pets --version 2`" in reason


def test_each_difference_is_told_once() -> None:
    outputs = Outputs(1)
    wide = tuple(f"n{number}" for number in range(20))
    with capture_logs() as logs:
        for _ in range(3):
            outputs.evolution("pets", "2", Evolution(new=wide, unknown_classes=("fox",)))
            outputs.evolution("pets", "2", Evolution(new=wide, unknown_classes=("fox", "hen")))
        outputs.evolution("pets", "3", check(with_feature(AGE), sent(SENT["text"])))
        outputs.evolution("pets", "3", check(with_feature(AGE), sent(SENT["text"])))
    told = [log["differences"] for log in logs]
    assert told[0].startswith(
        "not in the schema, so accepted, and measured only where the reference has it: f.n0, "
    )
    assert "f.n7 and 12 more; class 'fox'" in told[0]
    assert told[1] == "class 'hen' is not in the schema, so it counts as \"other\""
    assert told[2].startswith("column f.x: expected a number (float64)")
    assert len(told) == 3
