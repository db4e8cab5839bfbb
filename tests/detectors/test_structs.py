"""Threads that use a value type for the first time at once."""

import subprocess
import sys

FIRST_USE = """
import sys, threading
import msgspec
from detectors.structs import lay_out

sys.setswitchinterval(1e-6)
for _ in range(30):
    inner = msgspec.defstruct("Inner", [(f"f{n}", "int | str | None", None) for n in range(20)])
    outer = msgspec.defstruct("Outer", [(f"g{n}", list[inner], []) for n in range(20)])
    data = msgspec.json.encode({f"g{n}": [{"f1": 1, "f19": 2}] for n in range(20)})
    if sys.argv[1] == "ready":
        lay_out()
    together = threading.Barrier(4)

    def read():
        together.wait()
        msgspec.json.decode(data, type=outer)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_may_use_a_value_type_for_the_first_time_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE, "ready"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
