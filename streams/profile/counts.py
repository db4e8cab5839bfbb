"""Where every event of a model went, in this partition (invariant 8)."""

import msgspec

from detectors.values import Accounting


class Counts(msgspec.Struct):
    """The running counters behind `Accounting`; the same names. `future`: of the rows that became dead letters those
    from the future, predictions and labels together."""

    received: int = 0
    profiled: int = 0
    late: int = 0
    deadlettered: int = 0
    duplicates: int = 0
    label_received: int = 0
    joined: int = 0
    waiting: int = 0
    orphaned: int = 0
    revised: int = 0
    label_deadlettered: int = 0
    label_duplicates: int = 0
    future: int = 0

    def accounting(self, model: str, partition: int) -> Accounting:
        """The counters as a value, cumulative."""
        counts = msgspec.structs.asdict(self)
        del counts["future"]
        return Accounting(model=model, stage="profile", partition=partition, **counts)
