"""Errors of the embedded stack. Each message says what happened and what to do; none needs a stack trace."""


class StackError(Exception):
    """Root of what can go wrong while the local stack is started, watched or stopped."""


class DownloadError(StackError):
    """The broker's jars are not in the cache and could not be fetched."""


class PortTaken(StackError):
    """A port that the user has fixed is used by another program."""


class PartFailed(StackError):
    """A part did not become healthy in time, or could not be started at all."""


class StartTimedOut(PartFailed):
    """Parts were still starting when the time was over; none has said that it cannot."""


class AlreadyRunning(StackError):
    """Another supervisor owns this home."""
