"""The keys of a column of event ids: `homeostat.keys.key_of` of each, without making a Python string of it."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

Keys = npt.NDArray[np.uint64]


def keys_of_column(ids: pa.Array) -> Keys:
    """The keys of ids, an Arrow column of texts without nulls, shape (rows,)."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter(map(digest, ids.cast(pa.binary()).to_pylist()), np.uint64, len(ids))
