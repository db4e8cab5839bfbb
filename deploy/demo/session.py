"""The running stack as the demo uses it: registry, topics, REST."""

import asyncio
import json
from dataclasses import dataclass

from deploy import pieces
from deploy.demo.calls import Calls
from deploy.errors import UserError
from deploy.settings import Settings
from deploy.stack.lifecycle import StackStatus
from detectors.values import FeatureSpec, Monitor
from remediation.training_values import TrainedModel
from remediation.values import ModelVersion
from streams import topics
from streams.bus import KafkaBus
from streams.control.configuration import monitor_record
from streams.gate.rows import MAX_ROWS

RELEASE_MANAGER = "release-manager"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stack's parts answer."""

    broker: str
    mlflow: str
    api: str
    serving: str

    @classmethod
    def of(cls, status: StackStatus, settings: Settings) -> "Addresses":
        """Read off the state of a running stack; what was not embedded comes from the settings."""

        def url(name: str, given: str | None = None) -> str:
            part = status.part(name)
            found = part.url if part else given
            if not found:
                raise UserError(f"The stack has no address for {name}.")
            return found

        return cls(
            broker=url("kafka", settings.broker),
            mlflow=url("mlflow", settings.mlflow_tracking_uri),
            api=url("api"),
            serving=url("serving"),
        )


class Session:
    """Everything the story does to the stack from outside."""

    def __init__(self, addresses: Addresses, settings: Settings) -> None:
        self.home = settings.home
        self.addresses = addresses
        self.calls = Calls(addresses.api, addresses.serving, settings.api_token)
        self.registry = pieces.registry_at(addresses.mlflow, settings)
        self.bus = KafkaBus(addresses.broker, "homeostat-demo")

    async def close(self) -> None:
        """Give the connections back."""
        await self.calls.close()
        await self.bus.stop()

    async def watch(self, monitor: Monitor) -> None:
        """Publish how the model shall be watched."""
        key, value = monitor_record(monitor)
        await self.bus.publish(topics.CONTROL, key=key, value=value)

    async def register(self, trained: TrainedModel, note: str) -> ModelVersion:
        """Register a trained model."""
        return await asyncio.to_thread(self.registry.register, trained, tags={"note": note})

    async def release(self, version: ModelVersion, reason: str, timeout_s: float) -> None:
        """Promote a version, and return when serving has loaded it."""
        body = {"version": version.version, "by": RELEASE_MANAGER, "reason": reason}
        await self.calls.post(f"/models/{version.model}/promote", body)

        async def loaded() -> bool:
            return await self.calls.serves(version.model) == version.version

        await self.calls.until(f"serving to load version {version.version}", loaded, timeout_s)

    async def send_labels(self, rows: list[dict[str, object]]) -> None:
        """Labels go the way of any foreign system: as JSON through the gate. What an outage has held back is more than
        a record may hold."""
        for first in range(0, len(rows), MAX_ROWS):
            part = rows[first : first + MAX_ROWS]
            await self.bus.publish(
                topics.INGEST, key=str(part[0]["id"]).encode(), value=json.dumps(part).encode()
            )


def demo_monitor(model: str, features: tuple[str, ...]) -> Monitor:
    """Small panes and windows, because the demo shows in minutes what otherwise takes days."""
    return Monitor(
        model=model,
        features=tuple(FeatureSpec(name=name) for name in features),
        window_rows=500,
        label_window_rows=500,
        pane_s=0.5,
        watermark_delay_s=1.0,
        lateness_s=60.0,
    )
