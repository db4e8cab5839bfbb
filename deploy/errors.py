"""What the command line shows as one sentence instead of a stack trace."""


class UserError(Exception):
    """Something the person at the terminal can put right; the message says how."""
