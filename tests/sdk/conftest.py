"""Fixtures of the SDK's tests."""

import logging
from collections.abc import Iterator

import pytest

from tests.sdk.intake_parts import Quiet


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Libraries that other tests of this process load configure logging, and switch off the loggers that they find."""
    logger = logging.getLogger("homeostat")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "propagate", True)


@pytest.fixture
def quiet() -> Iterator[Quiet]:
    """A client with room for a thousand events that sends none."""
    made = Quiet(max_rows=1_000, batch_rows=100)
    yield made
    made.client.close(timeout_s=0)
