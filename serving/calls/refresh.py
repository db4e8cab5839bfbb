"""A version is compared with what it has seen lately: its reference is built again from the archive."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol

import msgspec

from detectors.errors import DetectorError
from detectors.reference import Reference
from remediation.errors import StepFailed
from remediation.ports import Clock
from serving.calls.records import Records

Count = Annotated[int, msgspec.Meta(ge=100)]


class RefreshParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The last `rows` events of the version in [since_us, until_us), and why they are usual from now on."""

    model: str
    version: str
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    rows: Count
    until_us: int
    since_us: int | None = None


class Build(Protocol):
    """Builds the reference from the archive; raises `DetectorError` or `ValueError` where its rows are none. Blocks."""

    def __call__(
        self, model: str, version: str, *, rows: int, until_us: int, since_us: int | None
    ) -> Reference: ...


Publish = Callable[[Reference], Awaitable[None]]
"""Puts it on the control topic, in force from a moment on."""


class RefreshReference:
    """Builds and publishes. Twice is once: the same rows are the same reference, under the revision that names its
    content."""

    def __init__(self, build: Build, publish: Publish, records: Records, clock: Clock) -> None:
        self._build = build
        self._publish = publish
        self._records = records
        self._clock = clock

    async def call(self, parameters: Mapping[str, Any], *, key: str) -> str:
        """Raises `StepFailed` where the archive does not hold a reference."""
        try:
            told = msgspec.convert(dict(parameters), RefreshParameters)
        except msgspec.ValidationError as error:
            raise StepFailed(f"the parameters of the refresh: {error}") from error
        await asyncio.to_thread(self._records.begin, key, now_us=self._clock.now_us())
        try:
            reference = await asyncio.to_thread(
                self._build,
                told.model,
                told.version,
                rows=told.rows,
                until_us=told.until_us,
                since_us=told.since_us,
            )
        except (DetectorError, ValueError) as error:
            raise StepFailed(f"no reference can be made of what is archived: {error}") from error
        await self._publish(reference)
        outcome = (
            f"version {told.version} of {told.model} is compared with its last {reference.rows:,} rows "
            f"(reference {reference.revision}): {told.reason}"
        )
        await asyncio.to_thread(self._records.complete, key, "done", outcome, now_us=self._clock.now_us())
        return outcome

    async def observe(self, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """What the record of the key says; a refresh that was only begun is done again."""
        del parameters
        found = await asyncio.to_thread(self._records.find, key)
        return found.outcome if found is not None and found.state == "done" else None
