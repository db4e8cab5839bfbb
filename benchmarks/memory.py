"""Memory of a profile worker: flat however many events pass, and bounded by models, features and ids.

    uv run python -m benchmarks.memory --json
    uv run python -m benchmarks.memory --events 50000000     # the long run

Scenarios: `memory.flat.ratio` (resident memory at the end against that after a fifth of the events, when the
label horizon is full), `memory.100x50.mb` (100 models of 50 features with panes of 10 s, as by default: resident memory
less 32 bytes per id).
"""

import asyncio
import sys

from benchmarks.broker import fill, running
from benchmarks.report import Scenario, parser, say, show
from benchmarks.stream import work
from benchmarks.workload import Workload

_MODELS = 100


def main() -> int:
    """Run the scenarios."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--events", type=int, default=5_000_000, help="events of the flat run (default: 5,000,000)"
    )
    options.add_argument("--rows-per-model", type=int, default=20_000, help="events of each of 100 models")
    given = options.parse_args()
    found = [_flat(given.events, given.seed), _many(given.rows_per_model, given.seed)]
    return show(found, as_json=given.json)


def _flat(events: int, seed: int) -> Scenario:
    # A horizon of 4 s at 100,000 events per second: it is full after 400,000 events.
    workload = Workload(events=events, seed=seed, horizon_s=4.0)
    with running(1) as (broker, folder):
        say(f"flat: {events:,} events")
        asyncio.run(fill(broker, workload))
        records = sum(1 for _ in range(0, events, workload.batch_rows))
        samples = work(broker, folder, records)
    early = next(s for s in samples if s["records"] >= records / 5)
    return Scenario(
        id="memory.flat.ratio",
        value=samples[-1]["rss_kb"] / early["rss_kb"],
        unit="end : after a fifth",
        higher_is_better=False,
        peers={"MB after a fifth": early["rss_kb"] / 1024, "MB at the end": samples[-1]["rss_kb"] / 1024},
        target=1.1,
    )


def _many(rows: int, seed: int) -> Scenario:
    models = [
        Workload(
            events=rows,
            model=f"model-{i:03d}",
            features=50,
            seed=seed + i,
            rate=rows / 100,
            horizon_s=1e6,
            pane_s=10.0,
        )
        for i in range(_MODELS)
    ]
    with running(1) as (broker, folder):
        say(f"many: {_MODELS} models of 50 features, {rows:,} events each")
        asyncio.run(fill(broker, *models))
        samples = work(broker, folder, _MODELS * -(-rows // models[0].batch_rows))
    ids = _MODELS * rows
    peak_mb = samples[-1]["peak_kb"] / 1024
    return Scenario(
        id="memory.100x50.mb",
        value=peak_mb - 32 * ids / 2**20,
        unit="MB beside 32 bytes per id",
        higher_is_better=False,
        peers={"peak MB": peak_mb, "ids": float(ids)},
        target=500.0,
    )


if __name__ == "__main__":
    sys.exit(main())
