"""Value types are made ready in one thread, before others use them."""

from collections.abc import Iterator

import msgspec


def lay_out() -> None:
    """Let msgspec lay out all value types that are imported by now.

    It does so at the first use of each, and a second thread that uses the type meanwhile reads a layout that is half
    there: the process dies of a segmentation fault (msgspec 0.22). So a process calls this once, after its imports and
    before it has threads; for 300 types it takes 20 ms.
    """
    for struct in _below(msgspec.Struct):
        try:
            msgspec.json.Decoder(struct)
        except (TypeError, NameError):
            # Such a type can never be decoded, from no thread.
            continue


def _below(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in struct.__subclasses__():
        yield each
        yield from _below(each)
