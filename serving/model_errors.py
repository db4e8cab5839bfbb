"""What can go wrong between the registry and a served prediction."""

from remediation.errors import Unusable


class ServingError(Exception):
    """Root of the model half of this room. `retriable`: the same call may succeed later without anybody's
    help."""

    retriable = False


class RegistryUnreachable(ServingError):
    """The registry did not answer, or answered that it is in trouble."""

    retriable = True


class RegistryRefused(ServingError, Unusable):
    """The registry answered, and the answer cannot be used: no such version, or a write that did not hold."""


class DigestMismatch(ServingError, Unusable):
    """The bytes are not the model that was registered or decided."""


class SignatureRefused(ServingError, Unusable):
    """Nobody whose word counts vouches for the version."""


class KeysInvalid(ServingError, Unusable):
    """The keys that sign model versions cannot be used, or no such key is listed."""


class ModelInvalid(ServingError):
    """The bytes are no model that this server can run, or the rows do not fit it."""


class ArrangementRefused(ServingError):
    """These servers cannot answer in the way that was decided."""
