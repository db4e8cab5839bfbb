"""Dead letters sent again: to where they came from, once, with a link when they fail again."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from homeostat.contract import PredictionBatch, decode, encode_predictions, headers_of
from streams.deadletters import DeadLetter, Wanted
from streams.deadletters_read import list_deadletters
from streams.deadletters_replay import Replayed, replay_deadletters
from streams.gate.config import GateConfig
from streams.gate.worker import serve_gate
from streams.topics import DEADLETTERS
from tests.streams.parts import make_topics, produce, read, until
from tests.streams.test_gate_rows import PREDICTION

PARTS = ("ingest", "halves", "events", "metrics", "state", "deadletters", "marks", "control")


async def _names(kafka: str, prefix: str) -> dict[str, str]:
    names = {name: f"{prefix}-{name}" for name in PARTS}
    await make_topics(kafka, dict.fromkeys(names.values(), 1))
    return names


async def _replay(kafka: str, names: dict[str, str], wanted: Wanted | None = None, **more: Any) -> Replayed:
    topics = {"topic": names["deadletters"], "marks": names["marks"], "events": names["events"]}
    return await replay_deadletters(kafka, wanted or Wanted(), **topics, **more)


async def test_what_is_put_right_passes_and_what_fails_again_names_its_letter(
    kafka: str, topic_prefix: str
) -> None:
    names = await _names(kafka, topic_prefix)
    parts = {name: topic for name, topic in names.items() if name != "marks"}
    config, stop = GateConfig(broker=kafka, group=f"{topic_prefix}-gate", **parts), asyncio.Event()
    gate = asyncio.create_task(serve_gate(config, stop))
    bad = PREDICTION | {"model": "sick", "score": 2}
    await produce(kafka, names["ingest"], [json.dumps([PREDICTION, bad]).encode(), b"{"])

    async def letters(count: int) -> list[DeadLetter]:
        found = await list_deadletters(kafka, 100, topic=names["deadletters"])
        return found if len(found) >= count else []

    first = await until("both are dead letters", lambda: letters(2))
    sick = next(letter for letter in first if letter.model == "sick")
    dry = await _replay(kafka, names, Wanted(model="sick"), dry_run=True)
    assert dry.sent == [sick.number]
    done = await _replay(kafka, names, Wanted(model="sick"))
    assert (done.sent, done.before, done.refused) == ([sick.number], [], {})
    again = (await until("it is back", lambda: letters(3)))[0]
    assert again.replay_of == sick.number
    assert json.loads(again.original) == bad
    twice = await _replay(kafka, names, Wanted(model="sick"))
    assert (twice.sent, twice.before) == ([again.number], [sick.number])
    await until("it is back once more", lambda: letters(4))
    stop.set()
    await gate
    records = await read(kafka, names["ingest"])
    assert len(records) == 4
    assert dict(records[2].headers) == {"replay-of": str(sick.number).encode()}


async def test_a_row_of_a_batch_is_sent_again_alone(kafka: str, topic_prefix: str) -> None:
    names = await _names(kafka, topic_prefix)
    batch = PredictionBatch.of(
        model="churn",
        version="7",
        producer="p",
        sequence=4,
        ids=["a", "b", "c"],
        times_us=[1, 2, 3],
        predictions=[0, 1, 0],
    )
    await produce(kafka, names["events"], [encode_predictions(batch)], headers=headers_of(batch))
    written = [
        DeadLetter(reason="poison", topic=names["events"], partition=0, offset=0, row=1, stage="profile"),
        DeadLetter(reason="gone", topic=names["events"], partition=0, offset=99, stage="profile"),
        DeadLetter(reason="own", topic="homeostat.profiles", partition=0, offset=0, stage="judge"),
        DeadLetter(reason="long", topic=names["ingest"], partition=0, offset=0, original=b"x" * 500_000),
    ]
    await produce(kafka, names["deadletters"], [letter.to_json() for letter in written])
    done = await _replay(kafka, names)
    assert done.sent == [0]
    assert {number: why.split()[0] for number, why in done.refused.items()} == {
        1: names["events"],
        2: "it",
        3: "only",
    }
    sent = (await read(kafka, names["events"]))[-1]
    found = decode(sent.value, sent.headers)
    assert (found.ids, found.producer, found.sequence) == (["b"], "replay-0", 0)


async def test_letters_are_chosen_by_model_reason_time_and_number(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-dead"
    await make_topics(kafka, {topic: 1})
    values = [
        DeadLetter(
            reason=f"Bad {i}",
            field="score" if i % 2 else "",
            model=f"m{i % 3}",
            topic="in",
            partition=0,
            offset=i,
        )
        for i in range(12)
    ]
    await produce(kafka, topic, [letter.to_json() for letter in values])

    async def numbers(**wanted: Any) -> list[int]:
        return [one.number for one in await list_deadletters(kafka, 3, wanted=Wanted(**wanted), topic=topic)]

    assert await numbers(model="m1") == [10, 7, 4]
    assert await numbers(reason="SCORE") == [11, 9, 7]
    assert await numbers(reason="bad 1", model="m1") == [10, 1]
    assert await numbers(numbers=frozenset({2})) == [2]
    assert await numbers(since_ms=4_000_000_000_000) == []


def test_the_commands(kafka: str, monkeypatch: pytest.MonkeyPatch, topic_prefix: str) -> None:
    monkeypatch.setenv("HOMEOSTAT_BROKER", kafka)
    model, runner = topic_prefix, CliRunner()

    async def prepare() -> None:
        names = (DEADLETTERS, "homeostat.state.replays", f"{model}-in")
        await make_topics(kafka, dict.fromkeys(names, 1))
        letter = DeadLetter(
            reason="no time", model=model, topic=f"{model}-in", partition=0, offset=3, original=b"{}"
        )
        await produce(kafka, DEADLETTERS, [letter.to_json()])

    asyncio.run(prepare())
    listed = runner.invoke(app, ["deadletters", "list", "--model", model, "--since", "1h", "--json"])
    [item] = json.loads(listed.stdout)["items"]
    assert (item["reason"], item["original"]) == ("no time", "{}")
    number = str(item["number"])
    assert "no time" in runner.invoke(app, ["deadletters", "list", "--model", model]).stdout
    assert json.loads(runner.invoke(app, ["deadletters", "show", number]).stdout)["model"] == model
    dry = runner.invoke(app, ["deadletters", "replay", number, "--dry-run", "--json"])
    assert json.loads(dry.stdout)["sent"] == [int(number)]
    assert "1 sent" in runner.invoke(app, ["deadletters", "replay", "--model", model]).stdout
    assert "1 were sent before" in runner.invoke(app, ["deadletters", "replay", number]).stdout
    assert runner.invoke(app, ["deadletters", "replay"]).exit_code != 0
    assert runner.invoke(app, ["deadletters", "list", "--since", "yesterday"]).exit_code != 0
