"""How decisions reach whoever serves a model, and what else the agent may do: what the settings and HOMEOSTAT_ACTUATORS
say, put together."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    # What a role does not need it does not import: ten processes start at once on a small machine.
    from detectors.reference import Reference
    from remediation.bus import Bus
    from remediation.ports import Actuator, Caller, Clock, Publisher, Registry
    from remediation.publisher import Announce
    from remediation.values import Desired
    from serving.actuators.values import Reaches
    from streams.bus import KafkaBus
    from streams.control.configuration import Configuration


def reaches(settings: Settings) -> "Reaches":
    """Which model is reached how, as the file says; all by our own servers where there is none."""
    from serving.actuators.values import ActuatorsInvalid, Reaches, read_reaches

    if settings.actuators is None:
        return Reaches()
    try:
        return read_reaches(settings.actuators)
    except ActuatorsInvalid as error:
        raise UserError(f"HOMEOSTAT_ACTUATORS: {error}") from error


def publisher(bus: "Bus", registry: "Registry", registered: "Configuration") -> "Publisher":
    """Makes decisions known to our own servers: references and their schemas on the control topic, the desired state,
    the alias."""
    from remediation.publisher import BusPublisher
    from streams import topics

    return BusPublisher(
        bus, registry, desired_topic=topics.DESIRED, announce=_announce(bus, registry, registered)
    )


def actuators(
    settings: Settings, bus: "Bus", registry: "Registry", registered: "Configuration"
) -> "dict[str, Actuator]":
    """What reaches models that are served elsewhere, by name."""
    from serving.actuators.building import build_actuators

    return build_actuators(reaches(settings), registry, _announce(bus, registry, registered))


def routed_publisher(
    settings: Settings, bus: "Bus", registry: "Registry", registered: "Configuration"
) -> "Publisher":
    """Makes decisions known to whoever serves their model."""
    from serving.actuators.building import RoutedPublisher

    elsewhere = actuators(settings, bus, registry, registered)
    return RoutedPublisher(publisher(bus, registry, registered), reaches(settings), elsewhere)


def caller(settings: Settings, bus: "KafkaBus", registered: "Configuration", clock: "Clock") -> "Caller":
    """Issues, HTTP calls, commands (where the file allows them) and fresh references. What was done is on record in
    `calls` in the home."""
    from serving.calls.caller import Calls
    from serving.calls.command import Command
    from serving.calls.http_call import HttpCall
    from serving.calls.records import Records
    from serving.calls.refresh import RefreshReference
    from streams.control.bus import publish_reference
    from streams.control.learning import GRACE_US

    records = Records(settings.home / "calls")

    async def publish(reference: "Reference") -> None:
        await publish_reference(bus, reference, clock.now_us() + GRACE_US)

    return Calls(
        {
            "open_issue": HttpCall(),
            "http_call": HttpCall(),
            "run_command": Command(reaches(settings).commands, records, clock),
            "refresh_reference": RefreshReference(
                partial(_refreshed, settings, registered, clock), publish, records, clock
            ),
        }
    )


def _announce(bus: "Bus", registry: "Registry", registered: "Configuration") -> "Announce":
    """Which versions only score by a decision, and the references of all that it names, where the control topic knows
    none. What it knows stays: it is the same, or was put there on purpose (learned, applied from a file, refreshed);
    and a rollback does not wait for the registry."""
    from remediation.tenures import scores_only
    from streams.control.bus import publish_reference, publish_shadowing

    async def announce(desired: "Desired") -> None:
        arrangement = desired.arrangement
        shadows = [each for each in arrangement.shadows if scores_only(desired, each)]
        known = registered.shadowing(desired.model)
        if (told := known.decided(shadows, desired.at_us)) != known:
            await publish_shadowing(bus, told)
        for version in dict.fromkeys([desired.version, *arrangement.shares, *arrangement.shadows]):
            if registered.reference(desired.model, version) is None:
                reference = await asyncio.to_thread(registry.reference, desired.model, version)
                await publish_reference(bus, reference)

    return announce


def _refreshed(
    settings: Settings,
    registered: "Configuration",
    clock: "Clock",
    model: str,
    version: str,
    *,
    rows: int,
    until_us: int,
    since_us: int | None,
) -> "Reference":
    from detectors.errors import ReferenceInvalid
    from streams.archive.read import ArchiveReader
    from streams.archive.refresh import refreshed

    former = registered.reference(model, version)
    if former is None:
        raise ReferenceInvalid(f"version {version!r} of {model!r} has no reference that could be refreshed")
    reader = ArchiveReader(settings.archive_location)
    monitor = registered.monitor(model, clock.now_us())
    return refreshed(reader, former, monitor, rows=rows, until_us=until_us, since_us=since_us)
