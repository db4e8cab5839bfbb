"""What the API says about the audit log's integrity; the same forms as in `homeostat audit export`."""

from typing import Any

from pydantic import BaseModel


class AuditReport(BaseModel):
    """Whether the log is as it was signed. `notices`: restores, changes of keys and redactions, which are no
    problems."""

    ok: bool
    entries: int
    problems: list[str]
    notices: list[str]


class WitnessOut(BaseModel):
    """What the witness signed last; `consistency` leads from it to the checkpoint beside it."""

    keys: list[str]
    checkpoint: str
    consistency: list[str]


class AuditStatement(BaseModel):
    """A signed checkpoint and the keys that vouch for it, the first key first."""

    format: str
    keys: list[str]
    checkpoint: str
    witness: WitnessOut | None
    filter: dict[str, str | int]
    complete: bool
    entries: int


class ProvenOut(BaseModel):
    """An entry: `leaf` is the text that is hashed, `personal` the salts and values that it seals, `proof` the sibling
    hashes in base64, `entry` what it says."""

    index: int
    entry: dict[str, Any]
    leaf: str
    personal: dict[str, tuple[str, str]]
    proof: list[str]


class AuditProof(BaseModel):
    """An entry and what it is proven against."""

    statement: AuditStatement
    entry: ProvenOut


class TreeHead(BaseModel):
    """The log at one size: the root in base64."""

    size: int
    root: str


class Consistency(BaseModel):
    """The proof that the log of `new.size` entries begins with the `old.size` first ones."""

    old: TreeHead
    new: TreeHead
    proof: list[str]
    checkpoint: str
    keys: list[str]
