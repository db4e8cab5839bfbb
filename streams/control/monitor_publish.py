"""Monitors on the control topic: publish the next revision, and list what is there."""

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from detectors.reference import Reference
from detectors.values import Budget, FeatureSpec, Monitor
from streams.control.bus import ControlBus, publish_reference
from streams.control.configuration import monitor_record
from streams.control.fleet import check_fleet, told
from streams.control.monitor_build import build_monitor, reference_of
from streams.control.window_spec import window_spec
from streams.files.monitor import FeatureColumn, MonitorFile, MonitorFileInvalid
from streams.times import MICROSECONDS, in_words
from streams.topics import CONTROL


@dataclass
class Published:
    """What the control topic says about one model: every revision of its monitor, in order, and the references
    by version, newest last."""

    model: str
    monitors: list[Monitor] = field(default_factory=list[Monitor])
    references: list[Reference] = field(default_factory=list[Reference])

    def row(self) -> dict[str, Any]:
        """For a table."""
        if not self.monitors:
            return {"model": self.model, "references": self._versions()}
        now = self.monitors[-1]
        spec = window_spec(now, "event")
        windows = f"{spec.length_us / MICROSECONDS:g} s" if spec.by_time else f"{spec.rows} rows"
        slide = f"{now.slide_s:g} s" if now.slide_s else f"{now.slide_rows} rows" if now.slide_rows else ""
        return {
            "model": self.model,
            "revision": now.revision,
            "windows": f"{windows}, every {slide}" if slide else windows,
            "pane": f"{now.pane_s:g} s",
            "features": len(now.features) or "all",
            "segments": ", ".join(now.segments),
            "budget": told(now.budget),
            "references": self._versions(),
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON. References without their histograms."""
        return {
            "model": self.model,
            "monitors": [msgspec.to_builtins(monitor) for monitor in self.monitors],
            "references": [
                {
                    "version": one.version,
                    "revision": one.revision,
                    "rows": one.rows,
                    "features": [part.spec.name for part in one.features],
                    "performance": one.performance,
                    "note": one.baseline.note if one.baseline is not None else "",
                }
                for one in self.references
            ],
        }

    def reference_of(self, version: str) -> Reference | None:
        """The newest of a version."""
        return next((one for one in reversed(self.references) if one.version == version), None)

    def _versions(self) -> str:
        known = ", ".join(dict.fromkeys(one.version for one in self.references))
        learning = self.monitors[-1].learning if self.monitors else None
        return known or ("" if learning is None else f"to be learned from {learning.rows:,} rows")


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of `apply_monitor`. `effective_us`: from which event time on what was published counts (0: for all
    events that come from now on); `replaces`: the revision of the reference that counts until then."""

    monitor: Monitor
    reference: Reference | None
    published: bool
    effective_us: int = 0
    replaces: str = ""

    @property
    def told(self) -> str:
        """In words."""
        start = "in force for all events that come from now on, whatever their time"
        if self.effective_us:
            start = "in force for events from " + in_words(self.effective_us)
        if self.monitor.learning is not None:
            return (
                f"{start}; a version that comes without a reference learns it from its first "
                f"{self.monitor.learning.rows:,} rows"
            )
        if self.reference is None:
            return f"{start}; references are those of the registered versions"
        told = f"{start}; reference {self.reference.revision} of version {self.reference.version}"
        told += f", until then {self.replaces}" if self.replaces else ""
        note = self.reference.baseline.note if self.reference.baseline is not None else ""
        return f"{told} ({note})" if note else told

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "monitor": msgspec.to_builtins(self.monitor),
            "reference": self.reference.revision if self.reference else None,
            "published": self.published,
            "effective_us": self.effective_us,
            "replaces": self.replaces or None,
        }


async def published_monitors(bus: ControlBus) -> list[Published]:
    """What is on the control topic, by model. Records that cannot be read are left out."""
    found: dict[str, Published] = {}
    for message in await bus.read_all(CONTROL):
        name = (message.key or b"").decode(errors="replace")
        try:
            if name.startswith("monitor/") and message.value:
                monitor = msgspec.json.decode(message.value, type=Monitor)
                known = found.setdefault(monitor.model, Published(monitor.model))
                known.monitors = [one for one in known.monitors if one.revision != monitor.revision] + [
                    monitor
                ]
            elif name.startswith("reference/") and message.value:
                reference = Reference.from_json(message.value)
                known = found.setdefault(reference.model, Published(reference.model))
                known.references = [one for one in known.references if one.revision != reference.revision]
                known.references.append(reference)
        except ValueError:
            continue
    return [found[model] for model in sorted(found)]


async def apply_monitor(
    bus: ControlBus,
    file: MonitorFile,
    effective_in_s: float,
    reference_from: MonitorFile | None = None,
    *,
    fleet: Budget | None = None,
    dry_run: bool = False,
) -> Applied:
    """Publish the reference that the file names, then the monitor as the next revision; nothing where both are
    already there. The first monitor of a model, and the first reference of a version, count for all events that come
    from now on, whatever their time; a later one for times from `effective_in_s` from now on: long enough for every
    worker to have read it. reference_from: the same with the file and the columns that the reference is built from,
    where it comes from elsewhere. fleet: the budget of all models together (see `streams.control.fleet`). dry_run:
    publish nothing; `published` says what would have been.

    Raises `FileInvalid`, `MonitorFileInvalid` or an error of `detectors.errors`.
    """
    source = reference_from or file
    if source.reference.archive is not None:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: reference.archive is read by `homeostat monitors apply`; for anything else "
            "write it to a file with `homeostat archive export` and name that"
        )
    reference, features = reference_of(source) if source.reference.file is not None else (None, _named(file))
    models = {one.model: one for one in await published_monitors(bus)}
    known = models.pop(file.model, Published(file.model))
    monitor = build_monitor(file, features)
    last = known.monitors[-1] if known.monitors else None
    same = last is not None and _content(monitor) == _content(last)
    before = known.reference_of(file.reference.version)
    is_new = reference is not None and (before is None or before.revision != reference.revision)
    if same and last is not None and not is_new:
        return Applied(last, reference, False, last.effective_us)
    if fleet is not None:
        check_fleet(fleet, monitor, [one.monitors[-1] for one in models.values() if one.monitors], last)
    effective_us = time.time_ns() // 1_000 + round(effective_in_s * MICROSECONDS) if last is not None else 0
    if reference is not None and is_new and not dry_run:
        await publish_reference(bus, reference, effective_us if before is not None else 0)
    replaces = before.revision if is_new and before is not None else ""
    if same and last is not None:
        return Applied(last, reference, True, effective_us if replaces else 0, replaces)
    if last is not None:
        monitor = msgspec.structs.replace(monitor, revision=last.revision + 1, effective_us=effective_us)
    if not dry_run:
        key, value = monitor_record(monitor)
        await bus.publish(CONTROL, key=key, value=value)
    return Applied(monitor, reference, True, effective_us, replaces)


def _named(file: MonitorFile) -> tuple[FeatureSpec, ...]:
    found: list[FeatureSpec] = []
    for one in file.columns.features or ():
        if not isinstance(one, FeatureColumn):
            found.append(FeatureSpec(name=one))
        elif one.kind == "text":
            found.append(FeatureSpec(name=one.name, kind="categorical", text=True))
        else:
            found.append(FeatureSpec(name=one.name, kind=one.kind or "numeric"))
    return tuple(found)


def _content(monitor: Monitor) -> Monitor:
    return msgspec.structs.replace(monitor, revision=0, effective_us=0)
