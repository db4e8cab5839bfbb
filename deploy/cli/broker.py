"""The commands' way to Kafka."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from deploy.errors import UserError
from deploy.settings import Settings

T = TypeVar("T")

_ANSWER_S = 10.0


def broker_address(settings: Settings) -> str:
    """The configured broker, or that of the stack that runs in the home."""
    from deploy.stack.lifecycle import status

    if settings.broker:
        return settings.broker
    part = status(settings.home).part("kafka")
    if part is not None and part.url:
        return part.url
    raise UserError(
        f"No Homeostat runs in {settings.home}. Start one with `homeostat up`, name another home with --home, or set "
        "HOMEOSTAT_BROKER to the address of a Kafka broker."
    )


def on_broker(work: Callable[[str], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
    """What `work` gives, which is called with the broker's address once a broker answers there.

    Raises `UserError` when none does within 10 s, or it stops to, or the work takes longer than `timeout_s`.
    """
    from streams.broker.admin import BrokerUnreachable, wait_for_broker
    from streams.broker.group import KAFKA_TROUBLE

    broker = broker_address(Settings())

    async def run() -> T:
        await wait_for_broker(broker, _ANSWER_S)
        async with asyncio.timeout(timeout_s):
            return await work(broker)

    client = logging.getLogger("aiokafka")
    level = client.level
    # It says five times a second that it cannot connect; what is wrong is said once, below.
    client.setLevel(logging.CRITICAL)
    try:
        return asyncio.run(run())
    except BrokerUnreachable as error:
        raise UserError(f"{error} Is it up? `homeostat status`") from error
    except (TimeoutError, *KAFKA_TROUBLE) as error:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            raise  # a file's, not Kafka's
        reason = str(error) or ("timed out" if isinstance(error, TimeoutError) else repr(error))
        raise UserError(
            f"Kafka at {broker} does not answer ({reason}). Is it up? `homeostat status`"
        ) from error
    finally:
        client.setLevel(level)
