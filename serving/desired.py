"""Follows the desired state: which version shall serve, decided elsewhere by one writer (invariant 11)."""

import asyncio
import time
from dataclasses import dataclass

import msgspec
import structlog

from remediation.bus import Bus, Message
from remediation.ports import Registry
from remediation.values import Acknowledgement, Desired
from serving.arranged import Served, Voice, arranged, wanted
from serving.loading import Loaded, load, load_champion
from serving.model_errors import ServingError
from serving.signatures import Signatures
from serving.standby import Standby

log = structlog.get_logger()

FIRST_RETRY_S, LAST_RETRY_S = 0.25, 5.0
BUS_PATIENCE_S = 5.0
"""How long a start waits for the desired state before it serves what the registry calls champion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Names of the topics: where decisions are read, and where this server tells what it did with them."""

    desired: str
    acknowledgements: str


class ServedModels:
    """What answers the requests, swapped one reference at a time: a request keeps what it began with.

    registry, bus: where versions and decisions come from. models: what this server is for; empty: whatever is
    decided.
    server: its name in acknowledgements.
    signatures: looked at again before a version that only stayed in memory answers; None: nobody looks.
    """

    def __init__(
        self,
        registry: Registry,
        bus: Bus,
        models: tuple[str, ...],
        *,
        topics: Topics,
        server: str,
        signatures: Signatures | None = None,
    ) -> None:
        self._registry = registry
        self._bus = bus
        self._configured = models
        self._topics = topics
        self._server = server
        self._signatures = signatures
        self._served: dict[str, Served] = {}
        self._standby = Standby()
        self._wanted: dict[str, Desired] = {}
        self._woken: dict[str, asyncio.Event] = {}
        self._replayed = -1

    def get(self, model: str) -> Served | None:
        """What answers for the model now."""
        return self._served.get(model)

    def all(self) -> list[Served]:
        """What serves now, by name of the model."""
        return [self._served[model] for model in sorted(self._served)]

    def waiting(self) -> list[str]:
        """Models that this server is for, or was told to serve, and has not loaded yet."""
        return sorted({*self._configured, *self._wanted} - self._served.keys())

    async def run(self) -> None:
        """Load what shall serve, then follow every decision; until cancelled."""
        self._woken.clear()
        async with asyncio.TaskGroup() as group:
            await self._read_decided(group)
            for model in self._configured:
                self._keep(group, model)
            async for message in self._bus.follow(self._topics.desired):
                if message.offset > self._replayed:
                    await self._take(group, message, announced=True)

    async def _read_decided(self, group: asyncio.TaskGroup) -> None:
        try:
            async with asyncio.timeout(BUS_PATIENCE_S):
                messages = await self._bus.read_all(self._topics.desired)
        except TimeoutError:
            log.warning("The desired state cannot be read yet; the registry's champions serve until it can.")
            return
        for message in messages:
            await self._take(group, message, announced=False)
            self._replayed = max(self._replayed, message.offset)

    async def _take(self, group: asyncio.TaskGroup, message: Message, *, announced: bool) -> None:
        """Note a decision. One that is older than the newest known is refused, aloud if it is `announced`:
        what is read at the start is history."""
        if message.value is None:
            return
        try:
            desired = msgspec.json.decode(message.value, type=Desired)
        except msgspec.DecodeError as error:
            log.error(
                "A record of the desired state cannot be read.", offset=message.offset, reason=str(error)
            )
            return
        if self._configured and desired.model not in self._configured:
            return
        newest = self._wanted.get(desired.model)
        if newest is not None and _loses(desired, newest):
            if announced:
                await self._refuse(desired, newest)
            return
        self._wanted[desired.model] = desired
        self._keep(group, desired.model)
        self._woken[desired.model].set()

    def _keep(self, group: asyncio.TaskGroup, model: str) -> None:
        if model not in self._woken:
            self._woken[model] = asyncio.Event()
            group.create_task(self._keep_loaded(model), name=f"serve-{model}")

    async def _keep_loaded(self, model: str) -> None:
        """Bring one model to its newest decision, again and again."""
        woken = self._woken[model]
        retry_s = FIRST_RETRY_S
        told: tuple[int, str] | None = None
        while True:
            woken.clear()
            desired = self._wanted.get(model)
            epoch = desired.epoch if desired else 0
            error: Exception
            try:
                await self._bring(model, desired)
            except ServingError as problem:
                error, again = problem, problem.retriable
            except Exception as problem:
                error, again = problem, True
                log.exception("Loading a model failed in a way that nobody foresaw.", model=model)
            else:
                retry_s = FIRST_RETRY_S
                await woken.wait()
                continue
            if told != (epoch, str(error)):
                told = (epoch, str(error))
                await self._report_failure(model, desired, error, again=again)
            retry_s = await self._pause(woken, retry_s if again else None)

    async def _pause(self, woken: asyncio.Event, retry_s: float | None) -> float:
        """Wait for a new decision, at most `retry_s` (None: for ever); the next pause."""
        try:
            async with asyncio.timeout(retry_s):
                await woken.wait()
        except TimeoutError:
            return min(LAST_RETRY_S, 2 * (retry_s or FIRST_RETRY_S))
        return FIRST_RETRY_S

    async def _bring(self, model: str, desired: Desired | None) -> None:
        """Load and swap. Raises `ServingError`; then what served before still serves."""
        if desired is None:
            champion = await asyncio.to_thread(load_champion, self._registry, model)
            if champion is not None and self._wanted.get(model) is None:
                self._swap(Served(decided=Voice(champion)))
            elif champion is None:
                log.info("No version of this model was decided to serve, and none is champion.", model=model)
            return
        versions = {
            version: await self._version(model, version, digest)
            for version, digest in wanted(desired).items()
        }
        served = arranged(desired, versions)
        unused = sorted(desired.arrangement.imputed.keys() - set(served.features))
        if unused:
            log.warning(
                "Features that shall be imputed are none of this version's.",
                model=model,
                version=desired.version,
                features=unused,
            )
        self._swap(served)
        await self._acknowledge(desired, loaded=True, detail="")

    async def _version(self, model: str, version: str, digest: str) -> Loaded:
        """The version with these bytes: one that answers now, one that was in memory and may still serve, or a fresh
        one."""
        current = self._served.get(model)
        same = [
            each
            for each in (current.versions if current is not None else ())
            if (each.version, each.digest) == (version, digest)
        ]
        if current is not None and any(each in current.answering for each in same):
            return same[0]
        kept = same[0] if same else self._standby.find(model, version, digest)
        if kept is not None and await asyncio.to_thread(self._may_serve, kept):
            return kept
        return await asyncio.to_thread(load, self._registry, model, version, digest=digest)

    def _may_serve(self, kept: Loaded) -> bool:
        """Whether its signature still counts; where it does not, the registry has the last word."""
        found = kept.signature if self._signatures is None else self._signatures.still(kept.signature)
        if found.refused:
            log.warning(
                "A version in memory is not vouched for any more; the registry is asked.",
                model=kept.model,
                version=kept.version,
                reason=found.why,
            )
        return not found.refused

    def _swap(self, served: Served) -> None:
        before = self._served.get(served.model)
        self._served[served.model] = served
        self._standby.swapped(served.model, before.versions if before else (), served.versions)
        loaded = served.decided.loaded
        if before is not None and (before.decided.loaded.digest, before.epoch) == (
            loaded.digest,
            served.epoch,
        ):
            return
        log.info(
            "This version serves now.",
            model=loaded.model,
            version=loaded.version,
            epoch=served.epoch,
            instead_of=before.decided.loaded.version if before else None,
            arrangement=served.told,
        )

    async def _report_failure(
        self, model: str, desired: Desired | None, error: Exception, *, again: bool
    ) -> None:
        serving = self._served.get(model)
        log.error(
            "A version cannot be loaded; what served before still serves.",
            model=model,
            wanted=desired.version if desired else "champion",
            serving=serving.decided.loaded.version if serving else None,
            reason=str(error),
            trying_again=again,
        )
        if desired is not None:
            await self._acknowledge(desired, loaded=False, detail=str(error))

    async def _refuse(self, desired: Desired, newest: Desired) -> None:
        detail = (
            f"epoch {desired.epoch} (version {desired.version}) is refused: "
            f"epoch {newest.epoch} (version {newest.version}) was decided before it arrived"
        )
        log.warning("An outdated decision is refused.", model=desired.model, reason=detail)
        await self._acknowledge(desired, loaded=False, detail=detail)

    async def _acknowledge(self, desired: Desired, *, loaded: bool, detail: str) -> None:
        acknowledgement = Acknowledgement(
            model=desired.model,
            version=desired.version,
            digest=desired.digest,
            epoch=desired.epoch,
            server=self._server,
            loaded=loaded,
            detail=detail,
            at_us=time.time_ns() // 1_000,
            arrangement=desired.arrangement.hash,
        )
        await self._bus.publish(
            self._topics.acknowledgements,
            key=desired.model.encode(),
            value=msgspec.json.encode(acknowledgement),
        )


def _loses(desired: Desired, newest: Desired) -> bool:
    """Older, or of the same epoch and not the same: one epoch is one decision, and a repetition is
    acknowledged."""
    if desired.epoch != newest.epoch:
        return desired.epoch < newest.epoch
    return _content(desired) != _content(newest)


def _content(desired: Desired) -> tuple[str, str, str]:
    return desired.version, desired.digest, desired.arrangement.hash
