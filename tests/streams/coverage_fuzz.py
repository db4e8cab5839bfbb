"""The decoders under a fuzzer that is led by the coverage of their code (Atheris, which is libFuzzer; Linux).

    uv run --with atheris python -m tests.streams.coverage_fuzz contract -max_total_time=600
    uv run --with atheris python -m tests.streams.coverage_fuzz contract crash-0a1b2c...

The first argument names a decoder of `tests.streams.decoders`, the others go to libFuzzer. It begins with the good
values of that decoder. An exception but the decoder's own, a hang or more than 2 GB ends it with the bytes in a file
`crash-...`, which as an argument are tried again. The decoder `archive` is left to the other fuzz tests: files from
before seals are read by pyarrow unchecked, and a damaged footer of one ends the process.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=65536")
ROOMS = ("homeostat", "streams", "detectors")
ROOT = Path(__file__).parents[2]


def compiled() -> list[str]:
    """The modules that numba compiles, and which must stay as they are written."""
    files = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if "compiled" in file.read_text()
    ]


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=list(ROOMS), exclude=compiled()):
        decoders: Any = import_module("tests.streams.decoders").DECODERS
    found = {one.name: one for one in decoders if one.name != "archive"}
    name, *options = sys.argv[1:] or [""]
    if name not in found:
        raise SystemExit(f"decoder: found {name!r}; expected one of {', '.join(found)}")
    with tempfile.TemporaryDirectory(prefix="homeostat-corpus-") as folder:
        for number, sample in enumerate(found[name].samples()):
            (Path(folder) / str(number)).write_bytes(sample)
        given = [one for one in options if not one.startswith("-")]
        atheris.Setup([sys.argv[0], *LIMITS, *options, *([] if given else [folder])], found[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
