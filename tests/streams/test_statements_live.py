"""What a person says comes from the control topic of a real broker to the configuration that the judge reads."""

from detectors.sequential.hearing import Statement
from streams.broker.admin import ensure_topics
from streams.bus import KafkaBus
from streams.control import feed
from streams.control.bus import publish_statement
from streams.topics import CONTROL, TopicSpec


async def test_a_statement_is_read_by_who_follows_the_control_topic(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, [TopicSpec(CONTROL, 1)])
    statement = Statement(
        id="s1",
        model=f"{topic_prefix}/loan",
        version="1",
        axis="event",
        kind="data_drift",
        said="expected",
        about="alert-1",
        after_us=5,
        by="ada",
    )
    async with KafkaBus(kafka) as bus:
        await publish_statement(bus, statement)
        await publish_statement(bus, statement)
    async with feed.followed(kafka, "test-statements") as known:
        assert list(known.statements(statement.model, "1", "all", "event")) == [statement]
        assert not known.statements(statement.model, "2", "all", "event")
