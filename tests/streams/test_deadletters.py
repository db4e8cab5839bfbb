"""Dead letters as they are written and listed."""

import base64
import json

import msgspec
import pytest

from streams.deadletters import MAX_ORIGINAL_BYTES, DeadLetter
from streams.deadletters_read import list_deadletters
from tests.streams.parts import make_topics, produce


def _letter(number: int) -> DeadLetter:
    return DeadLetter(
        reason="no time", field="time", topic="in", partition=1, offset=number, row=2, original=b"\xff{}"
    )


def test_a_letter_is_json_with_the_original_in_base64() -> None:
    found = json.loads(_letter(7).to_json())
    assert found == {
        "reason": "no time",
        "field": "time",
        "topic": "in",
        "partition": 1,
        "offset": 7,
        "row": 2,
        "original": base64.b64encode(b"\xff{}").decode(),
    }


def test_a_long_original_is_cut() -> None:
    letter = msgspec.structs.replace(_letter(1), original=b"x" * 2_000_000)
    value = letter.to_json()
    found = msgspec.json.decode(value, type=DeadLetter)
    assert found.truncated
    assert found.original == b"x" * MAX_ORIGINAL_BYTES
    assert len(value) < 1_000_000


async def test_the_newest_are_listed_first(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-dead"
    await make_topics(kafka, {topic: 1})
    assert await list_deadletters(kafka, 5, topic=topic) == []
    await produce(kafka, topic, [_letter(number).to_json() for number in range(30)] + [b"what?"])
    found = await list_deadletters(kafka, 4, topic=topic)
    assert "not a dead letter" in found[0].reason
    assert found[0].original == b"what?"
    assert [letter.offset for letter in found[1:]] == [29, 28, 27]
    assert [letter.number for letter in found] == [30, 29, 28, 27]
    assert all(letter.written_ms > 0 for letter in found)
    assert len(await list_deadletters(kafka, 1_000, topic=topic)) == 31


async def test_a_limit_below_one_is_refused(kafka: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        await list_deadletters(kafka, 0)
