"""A pane: a slice of time with its profile."""

from typing import NamedTuple

import msgspec

from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Axis
from streams.control.configuration import Configuration
from streams.times import NEVER_US


class PaneKey(NamedTuple):
    """What a pane counts, and where it begins."""

    version: str
    segment: str
    start_us: int


class PaneRecord(msgspec.Struct, array_like=True):
    """A pane as the state topic keeps it. `sequence` counts the snapshots sent; `unsent`: one more is due; `stood`: see
    `PaneSnapshot`."""

    model: str
    version: str
    segment: str
    axis: Axis
    pane_us: int
    length_us: int
    rows: int
    sealed_rows: int | None
    sequence: int
    unsent: bool
    monitor_revision: int
    reference_revision: str
    profile: bytes
    stood: tuple[int, int] | None = None


_MOST_UNPACKED_BYTES = 32 * 1024 * 1024


class Unpacked:
    """The panes of a stage whose profiles are at hand to be changed, those that were changed last at the end. A profile
    is some twenty times as large as its packed form; where all of them are too many, the first ones keep that alone.
    It changes no number."""

    def __init__(self, most_bytes: int = _MOST_UNPACKED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._sizes: dict[Pane, int] = {}
        self.size_bytes = 0

    def note(self, pane: "Pane") -> None:
        """It is being changed."""
        known = self._sizes.pop(pane, None)
        self._sizes[pane] = size = pane.profile.nbytes if known is None else known
        self.size_bytes += size - (known or 0)

    def forget(self, pane: "Pane") -> None:
        """It has its packed profile only, or is gone."""
        self.size_bytes -= self._sizes.pop(pane, 0)

    def shrink(self) -> None:
        """Pack as many as are too many; call it when nobody is changing one."""
        while self.size_bytes > self._most_bytes:
            next(iter(self._sizes)).sleep()


class Pane:
    """A slice of time of one version and segment on one axis. `rows` are predictions (event axis) or outcomes
    (label axis). `stood`: see `PaneSnapshot`."""

    def __init__(
        self, key: PaneKey, length_us: int, monitor_revision: int, reference: Reference | None
    ) -> None:
        self.key = key
        self.length_us = length_us
        self.monitor_revision = monitor_revision
        self.reference = reference
        self._profile: Profile | None = Profile.empty(reference)
        self._packed = b""
        self.rows = 0
        self.sealed_rows: int | None = None
        self.sequence = 0
        self.unsent = False
        self.changed = True
        self.sent_us = NEVER_US
        self.offset = -1
        self.stood: tuple[int, int] | None = None
        self.unpacked: Unpacked | None = None

    @property
    def end_us(self) -> int:
        """Where the next pane begins."""
        return self.key.start_us + self.length_us

    @property
    def reference_revision(self) -> str:
        """The revision of the reference it is counted on; empty without one."""
        return self.reference.revision if self.reference else ""

    @property
    def profile(self) -> Profile:
        """The profile, for reading only: `change` it."""
        if self._profile is None:
            self._profile = Profile.from_bytes(self.reference, self._packed)
        return self._profile

    def change(self) -> Profile:
        """The profile, which the caller is about to change; what was sealed owes a correction."""
        self.changed = True
        self.unsent = self.sealed_rows is not None
        profile = self.profile
        self._packed = b""
        if self.unpacked is not None:
            self.unpacked.note(self)
        return profile

    def pack(self) -> bytes:
        """The profile in few bytes."""
        if not self._packed:
            self._packed = self.profile.to_bytes()
        return self._packed

    def rest(self) -> None:
        """Keep only the packed profile of a pane at which nothing happens: panes are many."""
        if self._packed and not self.changed:
            self.sleep()

    def sleep(self) -> None:
        """Keep only the packed profile."""
        self.pack()
        self._profile = None
        if self.unpacked is not None:
            self.unpacked.forget(self)

    def record(self, model: str, axis: Axis) -> PaneRecord:
        """The pane for the state topic."""
        return PaneRecord(
            model=model,
            version=self.key.version,
            segment=self.key.segment,
            axis=axis,
            pane_us=self.key.start_us,
            length_us=self.length_us,
            rows=self.rows,
            sealed_rows=self.sealed_rows,
            sequence=self.sequence,
            unsent=self.unsent,
            monitor_revision=self.monitor_revision,
            reference_revision=self.reference_revision,
            profile=self.pack(),
            stood=self.stood,
        )

    @classmethod
    def of_record(cls, record: PaneRecord, configuration: Configuration) -> "Pane":
        """The pane that a record tells of, at rest."""
        reference = configuration.reference_revision(record.reference_revision)
        key = PaneKey(record.version, record.segment, record.pane_us)
        pane = cls(key, record.length_us, record.monitor_revision, reference)
        Profile.from_bytes(reference, record.profile)  # raises where the reference is another one
        pane._profile, pane._packed = None, record.profile
        pane.rows, pane.sealed_rows = record.rows, record.sealed_rows
        pane.sequence, pane.unsent, pane.changed = record.sequence, record.unsent, False
        pane.stood = record.stood
        return pane
