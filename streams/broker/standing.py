"""Where a consumer stands in a partition, without asking the broker."""

from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, TopicPartition


class Standing(NamedTuple):
    """`position`: the next offset that will be handed out. `end`: the next one that will be written, as the last fetch
    told."""

    position: int
    end: int

    def waiting(self, reached: int | None = None) -> int:
        """How many offsets there are behind `reached` (by default: behind what was handed out). Marks of transactions
        are offsets too, and only the consumer knows when it has passed them."""
        return max(0, self.end - (self.position if reached is None else reached))


def standing(consumer: AIOKafkaConsumer, place: TopicPartition) -> Standing | None:
    """None for a partition that is not assigned, or of which nothing was fetched yet."""
    # The client tells positions only to coroutines, which may wait for the broker.
    subscription = cast(Any, consumer)._subscription.subscription
    if subscription is None or subscription.assignment is None or place not in subscription.assignment.tps:
        return None
    state = subscription.assignment.state_value(place)
    if state is None or state.highwater is None or not state.has_valid_position:
        return None
    return Standing(int(state.position), int(state.highwater))
