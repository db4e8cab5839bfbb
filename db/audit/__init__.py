"""The audit log: leaves written with each change, a Merkle tree over them, signed checkpoints, a witness."""

from db.audit.leaves import append, entries, row_hash
from db.audit.sequencer import Sequencer, keep
from db.audit.verify import VerifyReport, verify
from db.audit.witness import Witness

__all__ = ["Sequencer", "VerifyReport", "Witness", "append", "entries", "keep", "row_hash", "verify"]
