"""What can be wrong with an archive."""

from streams.store import StorageInvalid


class ArchiveError(StorageInvalid):
    """The archive cannot be used as asked; the message says what is wrong and what would be right."""


class ArchiveDamaged(ArchiveError):
    """A file of the archive cannot be read; the message names it, and so does `path` (relative to the archive)."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path
