"""Which request of a person or program a change came with: the API sets it, the entries of the audit log name it."""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str | None] = ContextVar("homeostat_request_id", default=None)
"""The id of the request that is being answered; None outside of one, as in the agent. A thread or task that a request
starts has it, too."""
