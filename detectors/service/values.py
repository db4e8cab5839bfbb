"""What deciding remembers of a service: plain values."""

import msgspec

from detectors.sequential.values import Track
from detectors.service.usual import Usual
from detectors.values import Value


class ServiceFeedback(Value, frozen=True, kw_only=True):
    """A statement of a person, and the track as it was before."""

    id: str
    before: Track


class ServiceMemory(Value, frozen=True, kw_only=True):
    """What deciding remembers of a service. `learning`: of the first windows rows with a status, failed ones, then
    buckets of latencies and their rows by turns; `usual`: once that is learned; `recent`: what the last windows say of
    how they differ; `shares`: of slow and failed requests in the last windows, which began at `starts_us`; `since_us`:
    the start of the first window; `inherited`: `usual` is that of the version before, and `learned` what its own
    windows would have taught."""

    learning: tuple[tuple[int, ...], ...] = ()
    usual: Usual | None = None
    track: Track = msgspec.field(default_factory=Track)
    recent: tuple[tuple[float, ...], ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()
    starts_us: tuple[int, ...] = ()
    feedback: tuple[ServiceFeedback, ...] = ()
    since_us: int | None = None
    inherited: bool = False
    learned: Usual | None = None

    @property
    def own(self) -> Usual | None:
        """What was usual in windows of this very version, once that is known."""
        return self.learned if self.inherited else self.usual

    @property
    def firing(self) -> bool:
        """Whether an incident is open that nobody has called expected."""
        return self.track.opened is not None and not self.track.opened.expected
