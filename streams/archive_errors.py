"""What can be wrong with an archive."""


class ArchiveError(RuntimeError):
    """The archive cannot be used as asked; the message says what is wrong and what would be right."""


class ArchiveDamaged(ArchiveError):
    """A file of the archive cannot be read; the message names it."""
