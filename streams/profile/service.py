"""What a batch tells about the service: latencies, and which requests failed."""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Flags, Singles
from detectors.profile import Profile
from detectors.service.measures import count_latencies, count_statuses
from homeostat.batches import PredictionBatch
from homeostat.contract_dense import LATENCY, STATUS
from streams.profile.id_table import Indices
from streams.statuses import is_fine


class Service(NamedTuple):
    """Of a batch, by row. `latencies_ms`: None where none was given; `statuses`: 1 failed, 0 did not, -1 not told."""

    latencies_ms: Singles | None
    statuses: npt.NDArray[np.int8] | None

    def count_in(self, profile: Profile, rows: Indices | slice) -> None:
        """Count some of the rows."""
        if self.latencies_ms is not None:
            count_latencies(profile, self.latencies_ms[rows])
        if self.statuses is not None:
            told = self.statuses[rows]
            failed: Flags = told[told >= 0] > 0
            count_statuses(profile, failed)


def service_of(batch: PredictionBatch) -> Service | None:
    """What a batch tells; None where it tells nothing, which costs next to nothing."""
    if batch.silent:
        return None
    latency, status = batch.columns.column(LATENCY), batch.columns.column(STATUS)
    timed, told = latency.null_count < batch.rows, status.null_count < batch.rows
    codes = None
    if told:
        encoded = status.dictionary_encode()
        names = [0 if is_fine(str(name)) else 1 for name in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
        codes = np.array([*names, -1], dtype=np.int8)[places]
    return Service(batch.latencies_ms if timed else None, codes)
