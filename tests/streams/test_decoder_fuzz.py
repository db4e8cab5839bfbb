"""Every decoder of the system against bytes that nobody meant: none but the room's own error, no hang, and no
more memory than the bytes deserve. `pytest -m soak` looks much longer."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import gc
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.contract import PredictionBatch, encode_columns
from tests.streams.decoders import DECODERS, Decoder, predictions, profile


def decoders(name: str = "decoder") -> Any:
    return pytest.mark.parametrize(name, DECODERS, ids=lambda decoder: decoder.name)


NASTY: list[Any] = [
    None, True, -1, 0, 2**31, 2**53 + 1, -(2**63), 2**64 - 1, 1e308, -0.0, "", "🫀", "x" * 300, [], {}, [[[]]],
    {"a": {"b": []}}, [None] * 50,
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, decoder: Decoder, samples: tuple[bytes, ...]) -> bytes:
    """A good value with bytes changed, cut out, put in or said twice."""
    whole = draw(st.sampled_from(samples))
    stop = len(whole) - decoder.tail(whole)
    value, tail = bytearray(whole[:stop]), whole[stop:]
    for _ in range(draw(st.integers(1, 4))):
        if not value:
            break
        at = draw(st.integers(0, len(value) - 1))
        match draw(st.sampled_from(["set", "bit", "cut", "drop", "insert", "repeat", "number"])):
            case "set":
                value[at] = draw(st.integers(0, 255))
            case "bit":
                value[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del value[at:]
                tail = b""
            case "drop":
                del value[at : at + draw(st.integers(1, 16))]
            case "insert":
                value[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                value[at:at] = value[at : at + draw(st.integers(1, 64))]
            case _:
                number = draw(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 2**30, 0x7FFF]))
                value[at : at + 4] = struct.pack("<i", number)
    return bytes(value) + tail


@st.composite
def twisted(draw: st.DrawFn, samples: tuple[bytes, ...], tree: Any) -> bytes:
    """A good value in which some things have another value or type, well-formed all the same."""
    found = tree.decode(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(leaves(found))
        if not places:
            break
        container, name = draw(st.sampled_from(places))
        container[name] = deepcopy(draw(st.sampled_from(NASTY)))
    return tree.encode(found)


def leaves(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree of dicts and lists: where it is, and by which name."""
    for name, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, name
        if isinstance(value, dict | list):
            yield from leaves(value)


def hammer(decoder: Decoder, examples: int) -> None:
    samples = decoder.samples()
    readable = tuple(sample for sample in samples if decoder.tree and is_tree(decoder.tree, sample))
    kinds = [damaged(decoder, samples), damaged(decoder, samples), st.binary(max_size=200)]
    if readable:
        kinds += [twisted(readable, decoder.tree)] * 2

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.one_of(kinds))
    def run(value: bytes) -> None:
        decoder(value)

    for sample in decoder.samples():
        decoder(sample)
    run()


def is_tree(tree: Any, sample: bytes) -> bool:
    try:
        return isinstance(tree.decode(sample), dict | list)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


@decoders()
def test_a_decoder_raises_nothing_but_its_own(decoder: Decoder) -> None:
    hammer(decoder, 150)


@pytest.mark.soak
@decoders()
def test_a_decoder_raises_nothing_but_its_own_for_long(decoder: Decoder) -> None:
    hammer(decoder, 5_000)


DEEP = [
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"model":' + b"[" * 200_000,
    b"\x91" * 200_000,
    b"\x81\xa1a" * 100_000,
]


@decoders()
@pytest.mark.parametrize("value", [b"", b"\0", b" ", b"null", b"\xff\xff\xff\xff", *DEEP], ids=range(10))
def test_depth_and_nothing(decoder: Decoder, value: bytes) -> None:
    decoder(value)


# Few bytes that ask for much memory.

SPARE_BYTES = 48 * 2**20
"""What a decoder may take beyond a multiple of what it was given: NumPy's and Arrow's own pages."""
TIMES = 12


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which the process was larger than before, at most, while this ran (Linux)."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of a process's memory cannot be reset here")
    before = memory_bytes("VmRSS")
    run()
    return memory_bytes("VmHWM") - before


def memory_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1_024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def zeros(rows: int) -> pa.RecordBatch:
    columns = predictions().columns.slice(0, 1)
    tables = pa.Table.from_batches([columns] * rows).combine_chunks()
    return tables.to_batches()[0].append_column("f.zero", pa.array(np.zeros(rows)))


def compressed(codec: str) -> bytes:
    batch = zeros(100_000)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def long_text() -> bytes:
    """A text of 20 kB in 50,000 rows."""
    columns = PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=1,
        ids=[str(i) for i in range(50_000)],
        times_us=np.zeros(50_000, dtype=np.int64),
        predictions=np.zeros(50_000),
    ).columns
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int8)), ["x" * 20_000])
    return encode_columns(columns.append_column("s.text", text))


def nulls() -> bytes:
    """100 columns without a byte in 50,000 rows."""
    batch = pa.record_batch(
        {"id": pa.array(["a"] * 50_000), **{f"f.{i}": pa.nulls(50_000) for i in range(100)}}
    )
    return encode_columns(batch)


def same_field(times: int, name_chars: int) -> bytes:
    """A schema of `times` fields that are the same bytes: one with a long name."""
    schema = pa.schema(
        [pa.field("f." + "x" * name_chars, pa.null()), *(pa.field(f"f.{i}", pa.null()) for i in range(times))]
    )
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    value = bytearray(sink.getvalue().to_pybytes())
    count = next(at for at in range(8, len(value), 4) if struct.unpack_from("<I", value, at)[0] == times + 1)
    first = count + 4 + struct.unpack_from("<I", value, count + 4)[0]
    for at in range(count + 4, count + 8 + 4 * times, 4):
        struct.pack_into("<I", value, at, first - at)
    return bytes(value)


def same_buffer() -> bytes:
    """Forty columns of 100,000 numbers that are the same bytes."""
    batch = zeros(100_000)
    for i in range(40):
        batch = batch.append_column(f"f.{i}", pa.array(np.arange(2.0)).take(pa.array([0] * 100_000)))
    value = encode_columns(batch)
    start = 8 + struct.unpack_from("<i", value, 4)[0]
    body = start + 8 + struct.unpack_from("<i", value, start + 4)[0]
    message = bytearray(value[: body + 8_000_000])
    seen = None
    for at in range(start, body - 16, 8):
        offset, length = struct.unpack_from("<qq", message, at)
        if length == 800_000:
            seen = offset if seen is None else seen
            struct.pack_into("<qq", message, at, seen, length)
    return bytes(message)


BOMBS: list[tuple[str, str, Callable[[], bytes]]] = [
    ("contract", "lz4", lambda: compressed("lz4")),
    ("contract", "zstd", lambda: compressed("zstd")),
    ("contract", "a long text in every row", long_text),
    ("contract", "one field many times", lambda: same_field(4_000, 250_000)),
    ("contract", "one buffer many times", same_buffer),
    ("contract", "100 MB", lambda: bytes(100_000_000)),
    ("contract", "metadata without end", lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(100)),
    ("gate rows", "numbers", lambda: b"[" + b"1," * 20_000 + b"1]"),
    ("gate rows", "one number", lambda: b"9" * 2_000_000),
    ("gate rows", "an exponent", lambda: b'{"id":1e999999999}'),
    ("gate rows", "lines", lambda: b"{}\n" * 20_000),
    ("gate rows", "numbers without end", lambda: b"[" + b"1," * 500_000 + b"1]"),
    ("gate", "lz4", lambda: compressed("lz4")),
    ("gate", "zstd", lambda: compressed("zstd")),
    ("gate", "a long text in every row", long_text),
    ("gate", "one field many times", lambda: same_field(4_000, 250_000)),
    ("gate", "one buffer many times", same_buffer),
    ("gate", "columns of nulls", nulls),
    ("profile", "zeros", lambda: profile()[:10] + bytes(2_000_000)),
    ("profile", "ones", lambda: profile()[:10] + b"\xff" * 2_000_000),
    ("judge stage", "an array without end", lambda: b"\xdd\xff\xff\xff\xff"),
    ("judge stage", "a text without end", lambda: b"\x81\xdb\xff\xff\xff\xffa"),
    (
        "judge stage",
        "bytes without end",
        lambda: msgspec.msgpack.encode({"model": "m"}) + b"\xc6\xff\xff\xff\xff",
    ),
    ("reference", "numbers", lambda: b'{"model":"m","scores":[' + b"0," * 500_000 + b"0]}"),
]


@pytest.mark.parametrize(("name", "what", "bomb"), BOMBS, ids=[f"{name}-{what}" for name, what, _ in BOMBS])
def test_few_bytes_take_little_memory(name: str, what: str, bomb: Callable[[], bytes]) -> None:
    decoder = next(decoder for decoder in DECODERS if decoder.name == name)
    for sample in decoder.samples():
        decoder(sample)
    value = bomb()
    grown = peak_growth(lambda: decoder(value))
    assert grown < SPARE_BYTES + TIMES * len(value), f"{grown:,} bytes for {len(value):,}"
