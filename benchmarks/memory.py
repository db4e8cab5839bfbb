"""Memory of a profile worker: flat however many events pass, and bounded by models, features and ids.

    uv run python -m benchmarks.memory --json
    uv run python -m benchmarks.memory --events 50000000     # the long run

Scenarios: `memory.flat.ratio` (resident memory in the last tenth of the events against that in the second fifth, when
the label horizon and the lateness are full; medians, because fetches come and go), `memory.100x50.mb` (100 models of 50
features with panes of 10 s, as by default: resident memory less 32 bytes per id), `memory.ids.N.bytes` (what the table
of ids takes at most for each of N ids in the horizon, without segments, as it fills and as the horizon moves on),
`memory.ids.N.segments.bytes` (the same with segments and a 24th of the horizon in memory, as `homeostat up` runs).
"""

import asyncio
import json
import statistics
import subprocess
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
        "--events", type=int, default=12_000_000, help="events of the flat run (default: 12,000,000)"
    )
    options.add_argument("--rows-per-model", type=int, default=20_000, help="events of each of 100 models")
    options.add_argument(
        "--ids", type=int, nargs="*", default=[2_000_000], help="ids in the horizon (default: 2000000)"
    )
    given = options.parse_args()
    found = [_ids(ids, segments) for ids in given.ids for segments in (False, True)]
    found += [_flat(given.events, given.seed), _many(given.rows_per_model, given.seed)]
    return show(found, as_json=given.json)


def _flat(events: int, seed: int) -> Scenario:
    # Horizon and lateness of 4 s at 100,000 events per second: they are full after 400,000 events.
    workload = Workload(events=events, seed=seed, horizon_s=4.0, lateness_s=4.0)
    with running(1) as (broker, folder):
        say(f"flat: {events:,} events")
        asyncio.run(fill(broker, workload))
        records = sum(1 for _ in range(0, events, workload.batch_rows))
        samples = work(broker, folder, records)
    early_mb, late_mb = (_median_mb(samples, records, share) for share in ((0.2, 0.4), (0.9, 1.0)))
    return Scenario(
        id="memory.flat.ratio",
        value=late_mb / early_mb,
        unit="last tenth : second fifth",
        higher_is_better=False,
        peers={
            "MB in the second fifth": early_mb,
            "MB in the last tenth": late_mb,
            "peak MB": samples[-1]["peak_kb"] / 1024,
        },
        target=1.1,
    )


def _median_mb(samples: list[dict[str, float]], records: int, share: tuple[float, float]) -> float:
    """Resident memory while the records of this share of all were worked on."""
    first, last = (part * records for part in share)
    found = [sample["rss_kb"] for sample in samples if first <= sample["records"] <= last]
    if not found:
        raise SystemExit(
            f"nothing was measured between records {first:,.0f} and {last:,.0f}: give more --events"
        )
    return statistics.median(found) / 1024


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


def _ids(ids: int, segments: bool) -> Scenario:
    say(f"ids: {ids:,} in the horizon" + (", with segments" if segments else ""))
    command = [sys.executable, "-m", "benchmarks.memory_ids", str(ids), *["--segments"] * segments]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Scenario(
        id=f"memory.ids.{ids}.segments.bytes" if segments else f"memory.ids.{ids}.bytes",
        value=max(found["filling"], found["moving"]),
        unit="bytes per id in the horizon",
        higher_is_better=False,
        peers=found,
        target=32.0,
    )


if __name__ == "__main__":
    sys.exit(main())
