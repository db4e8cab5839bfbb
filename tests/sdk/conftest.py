"""Fixtures of the SDK's tests."""

from collections.abc import Iterator

import pytest

from tests.sdk.intake_parts import Quiet


@pytest.fixture
def quiet() -> Iterator[Quiet]:
    """A client with room for a thousand events that sends none."""
    made = Quiet(max_rows=1_000, batch_rows=100)
    yield made
    made.client.close(timeout_s=0)
