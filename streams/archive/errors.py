"""What can be wrong with an archive."""

from streams.store import StorageInvalid


class ArchiveError(StorageInvalid):
    """The archive cannot be used as asked; the message says what is wrong and what would be right."""


class ArchiveDamaged(ArchiveError):
    """A file of the archive cannot be read; the message names it."""
