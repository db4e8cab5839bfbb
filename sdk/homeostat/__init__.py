"""Tell Homeostat what your model saw and said.

    import homeostat

    homeostat.init()                              # HOMEOSTAT_BROKER unset: nothing happens, nothing fails
    homeostat.log("churn", version="7", id="r-1", features={"age": 41.0}, prediction=1, score=0.83)
    homeostat.label("churn", id="r-1", value=0)   # minutes or weeks later

No call raises, and none but `flush` and `close` waits.
"""

from homeostat.client import Client
from homeostat.config import Config
from homeostat.ledger import Stats

__all__ = [
    "Client",
    "Config",
    "Stats",
    "aflush",
    "close",
    "flush",
    "init",
    "is_open",
    "label",
    "log",
    "metrics",
    "stats",
]

_client = Client()

init = _client.open
is_open = _client.is_open
log = _client.log
label = _client.label
flush = _client.flush
aflush = _client.aflush
stats = _client.stats
metrics = _client.metrics
close = _client.close
