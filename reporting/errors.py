"""What can go wrong in reporting.

ReportingError
└── MailError        the report was not sent; `retriable` says whether waiting may help
"""


class ReportingError(Exception):
    """Root of the room. `retriable`: the same call can succeed later without anybody changing a setting."""

    retriable = False


class MailError(ReportingError):
    """The report was not sent. The message names the server and what it said, never the password."""

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.retriable = retriable
