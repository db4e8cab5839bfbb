"""Harms one file of an archive in many ways and reads it; a process of its own, because what is tested is whether
reading ends the process. `python -m tests.streams.damage FOLDER SEED`; prints what came of it as JSON."""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from streams.archive.errors import ArchiveDamaged
from streams.archive.files import footer_of, list_files, tables_in
from streams.store import LocalStore
from tests.streams.archive_parts import predictions, write

FOOTER_FLIPS, PAGE_FLIPS, OTHERS = 1_200, 400, 400


def harmed(sound: bytes, rng: random.Random) -> Iterator[bytes]:
    """The file with one bit flipped, most of them in the footer; cut; or with a stretch of other bytes."""
    size = len(sound)
    footer = size - 8 - int.from_bytes(sound[-8:-4], "little")
    bits = [*range((footer - 16) * 8, footer * 8), *range((size - 8) * 8, size * 8)]
    bits += [rng.randrange(footer * 8, size * 8) for _ in range(FOOTER_FLIPS)]
    bits += [rng.randrange(footer * 8) for _ in range(PAGE_FLIPS)]
    for bit in bits:
        changed = bytearray(sound)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    for _ in range(OTHERS):
        start = rng.randrange(footer - 64, size)
        length = rng.randrange(1, 2_000)
        yield sound[:start]
        yield sound[:start] + bytes(min(length, size - start)) + sound[start + length :]
        yield sound[:start] + rng.randbytes(min(length, size - start)) + sound[start + length :]
        yield sound[:start] + sound[start + length :]


def main(folder: Path, seed: int) -> Counter[str]:
    """How often reading was refused, how often it gave the same rows, and how often others."""
    store = LocalStore(folder)
    write(store, [predictions(0, 20)])
    file = list_files(store)[0]
    path = folder / file.path
    sound, rows = path.read_bytes(), pa.concat_tables(tables_in(store, file))
    found: Counter[str] = Counter()
    for content in harmed(sound, random.Random(seed)):
        path.write_bytes(content)
        try:
            footer_of(store, file)
            same = pa.concat_tables(tables_in(store, file)).equals(rows)
            found["same" if same or content == sound else "other rows"] += 1
        except ArchiveDamaged:
            found["refused"] += 1
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
