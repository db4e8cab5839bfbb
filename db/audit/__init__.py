"""The audit log: leaves written with each change, a Merkle tree over them, signed checkpoints, a witness."""

from db.audit.leaves import NewEntry, append, append_all, entries
from db.audit.sequencer import Sequencer, keep
from db.audit.verify import VerifyReport, verify
from db.audit.witness import Witness

__all__ = [
    "NewEntry",
    "Sequencer",
    "VerifyReport",
    "Witness",
    "append",
    "append_all",
    "entries",
    "keep",
    "verify",
]
