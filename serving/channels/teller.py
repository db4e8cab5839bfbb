"""One channel as the outbox sees it: it makes bulletins, hands them to the channel's transport, and says whether the
peer took them."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from remediation.notices import Notice
from remediation.ports import Clock, Journal
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving.channels import bulletin as bulletins
from serving.channels.bulletin import Bulletin
from serving.picture import Drawn, drawn_of

log = structlog.get_logger()

_LONGEST_PAUSE_S = 3_600.0


class NotDelivered(Exception):
    """The peer did not take it, or nobody knows whether it did. `retry_after_s`: how long it wants to be left alone."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Transport(Protocol):
    """How one kind of channel is spoken to."""

    @property
    def name(self) -> str:
        """The channel's name in the policy."""
        ...

    @property
    def shows_pictures(self) -> bool:
        """Whether a chart can be sent along."""
        ...

    async def send(self, bulletin: Bulletin, picture: Drawn | None) -> None:
        """Returns when the peer has it. A second attempt with the same `bulletin.id` says the same. Raises
        `NotDelivered`."""
        ...


class Teller:
    """Fulfils `remediation.ports.Notifier`. Nothing is repeated here: the outbox tries again. `environment` names
    the installation in every message. `elapsed_s` is a clock that never goes back."""

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        clock: Clock,
        *,
        console_url: Callable[[], str | None] = lambda: None,
        environment: str = "",
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._clock = clock
        self._console_url = console_url
        self._environment = environment
        self._elapsed_s = elapsed_s
        self._quiet_until_s = float("-inf")

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Somebody must decide."""
        return await self._send(*await asyncio.to_thread(self._question, incident, plan, approval))

    async def approval_changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Only where people decide."""
        del incident, plan, approval
        return True

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Somebody has decided, or time has."""
        return await self._send(bulletins.decided(incident, plan, approval, self._console_url()))

    async def approval_reminded(
        self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder
    ) -> bool:
        """Nobody has decided yet."""
        return await self._send(bulletins.reminding(incident, plan, approval, reminder, self._console_url()))

    async def incident_closed(self, incident: Incident) -> bool:
        """How it ended."""
        return await self._send(bulletins.closed(incident, self._console_url()))

    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        """Anything else."""
        return await self._send(bulletins.noticing(notice, incident, self._console_url()))

    def _question(self, incident: Incident, plan: Plan, approval: Approval) -> tuple[Bulletin, Drawn | None]:
        with self._journal.reading() as unit:
            alerts = unit.alerts(incident.id)
        bulletin = bulletins.asking(incident, plan, approval, alerts, self._console_url())
        if not self._transport.shows_pictures:
            return bulletin, None
        return bulletin, drawn_of(self._journal, incident, alerts, until_us=approval.requested_us)

    async def _send(self, bulletin: Bulletin, picture: Drawn | None = None) -> bool:
        if self._elapsed_s() < self._quiet_until_s:
            return False
        try:
            await self._transport.send(
                msgspec.structs.replace(bulletin, environment=self._environment), picture
            )
        except NotDelivered as error:
            if error.retry_after_s is not None:
                self._quiet_until_s = self._elapsed_s() + min(error.retry_after_s, _LONGEST_PAUSE_S)
            log.warning(
                "A message was not delivered; it is tried again later",
                channel=self._transport.name,
                message=bulletin.id,
                reason=str(error),
            )
            return False
        return True
