"""What the archive role deletes of itself is in the audit log, where this installation has one."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remediation.names import ARCHIVE

if TYPE_CHECKING:
    from streams.archive.layout import ArchiveFile


@contextmanager
def retiring(files: "Sequence[ArchiveFile]") -> Generator[None]:
    """Tell the audit log of files that the block deletes because their retention is over, before it and after it.
    Raises what the database raises: what cannot be told is not deleted yet."""
    from deploy.cli.acting import recorded
    from streams.archive.layout import model_of_part

    days = [each.place.day for each in files]
    detail: dict[str, object] = {
        "files": len(files),
        "bytes": sum(each.size for each in files),
        "models": sorted({model_of_part(each.place.model) for each in files}),
        "oldest": min(days),
        "newest": max(days),
    }
    with recorded(ARCHIVE, "archive", ("archive.retire", "archive.retired"), detail, loud=False):
        yield
