"""What the registry's tags say of a version: its card, its digest, and the signature that vouches for both."""

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from detectors.reference_values import Reference
from remediation.values import ModelVersion, Signed
from serving.signatures import Found, Signatures

DIGEST_TAG, CARD_TAG, SIGNATURE_TAG = "homeostat.digest", "homeostat.card", "homeostat.signature"
"""Tags of a version. The digest is written last: a version without it was never finished, and does not exist
here."""


def is_finished(tags: Mapping[str, str]) -> bool:
    """Whether somebody registered the version with all that Homeostat has to know of it."""
    return DIGEST_TAG in tags and CARD_TAG in tags


def judged(
    tags: Mapping[str, str], *, model: str, version: str, run_id: str | None, signatures: Signatures | None
) -> tuple[ModelVersion, Found] | None:
    """The version that an entry of the registry tells of, and what its signature is worth; None for one that was
    never finished. One whose card cannot be read must not serve."""
    if not is_finished(tags):
        return None
    try:
        said = msgspec.json.decode(tags[CARD_TAG], type=ModelVersion)
    except msgspec.DecodeError as error:
        wrong = Signed(state="wrong", refused=True, why=f"its card in the registry cannot be read: {error}")
        unread = ModelVersion(model=model, version=version, digest=tags[DIGEST_TAG], run_id=run_id or "")
        return replace(unread, signature=wrong), Found(wrong, {})
    # Whoever writes the card decides neither which version it is nor what its signature is worth.
    named = {"model": model, "version": version, "run_id": run_id or said.run_id}
    card = replace(said, **named, digest=tags[DIGEST_TAG], signature=Signed())
    if signatures is None:
        return card, Found(card.signature, {})
    found = signatures.judged(tags.get(SIGNATURE_TAG), card, tags[CARD_TAG])
    return with_signature(card, found), found


def with_signature(card: ModelVersion, found: Found) -> ModelVersion:
    """The card with what its signature is worth."""
    return replace(card, signature=found.signed)


def under_version(reference: Reference, version: str) -> Reference:
    """The reference with the version's number, and the revision that names its new content (`from_json`
    checks it)."""
    blank = replace(reference, version=version, revision="")
    revision = hashlib.sha256(msgspec.json.encode(blank)).hexdigest()[:16]
    return Reference.from_json(replace(blank, revision=revision).to_json())
