"""What the log says about itself: whose key signs since when, what a restore lost, what was redacted."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from db.audit.acts import REDACTED_FIELDS, RESTORED, ROTATED, Redaction, Restoration, Rotation, signed_by
from db.audit.blocks import Act
from db.audit.findings import Findings
from db.audit.keys import Chain
from db.audit.note import Verifier
from db.audit.sealed import ROWS

T = TypeVar("T", Restoration, Redaction, Rotation)


class History:
    """Built from the acts in the order of the log. An act that is not signed by the key in force, or by a later one
    after a restore, counts as a finding and not as an act."""

    def __init__(self, findings: Findings, chain: Chain | None, acts: list[Act]) -> None:
        self.restorations: list[Restoration] = []
        self.notices: list[str] = []
        self._findings = findings
        self._chain = chain
        self._redactions: dict[tuple[int, str], set[str]] = {}
        self._since: list[int] = []
        self._keys: list[Verifier] = [] if chain is None else [chain.keys[0]]
        for act in acts:
            self._take(act)
        self._check_newest()

    def key_for(self, size: int) -> Verifier | None:
        """The key that must have signed a checkpoint of `size` entries."""
        return self._keys[bisect_right(self._since, size)] if self._keys else None

    def check_removed(self, removed: Mapping[tuple[int | None, str], set[str]]) -> None:
        """Every value that is gone must have a redaction, and every redaction its value gone."""
        for (index, leaf_id), names in removed.items():
            told = self._redactions.pop((-1 if index is None else index, leaf_id), set[str]())
            where = f"Waiting entry {leaf_id}" if index is None else f"Entry {index}"
            for name in sorted(names - told):
                self._findings.add(
                    f"{where} was edited: the value of {name} was removed without a redaction."
                )
            self._check_kept(index, told - names)
        for (index, _), names in self._redactions.items():
            self._check_kept(index, names)

    def _check_kept(self, index: int | None, names: set[str]) -> None:
        for name in sorted(names):
            self._findings.add(
                f"Entry {index} holds a value of {name} although it was redacted: it was put back, perhaps by an old "
                "backup."
            )

    def _take(self, act: Act) -> None:
        leaf, where = act.leaf, f"Entry {act.index} ({act.leaf.action})"
        try:
            key = signed_by(leaf.action, leaf.subject, leaf.detail)
            if self._chain is None or key not in self._chain.keys:
                raise ValueError(f"{key.text} is no key of this log")
            if leaf.action != RESTORED and key != self._keys[-1]:
                raise ValueError(f"{key.text} is not the key in force")
            if leaf.action == RESTORED:
                self._restored(act, msgspec.convert(leaf.detail, Restoration), key)
            elif leaf.action == ROTATED:
                self._rotated(act, msgspec.convert(leaf.detail, Rotation), self._chain)
            elif leaf.action == REDACTED_FIELDS:
                told = msgspec.convert(leaf.detail, Redaction)
                self._redactions.setdefault((told.entry, told.id), set()).update(told.fields)
                set_aside = [name for name in told.fields if name != ROWS]
                self.notices.append(
                    f"Entry {told.entry}: {', '.join(set_aside)} was redacted (entry {act.index})."
                )
        except (ValueError, msgspec.ValidationError) as error:
            self._findings.add(f"{where} is forged: {error}.")

    def _restored(self, act: Act, told: Restoration, key: Verifier) -> None:
        if told.entries > act.index:
            raise ValueError(f"it says that {told.entries} entries were kept")
        self.restorations.append(told)
        self.notices.append(
            f"The log was restored from a backup of {told.entries} entries (entry {act.index}): the entries "
            f"{told.entries} to {told.lost_until - 1} of before are lost."
        )
        if key != self._keys[-1]:
            self._in_force(act.index, key)

    def _rotated(self, act: Act, told: Rotation, chain: Chain) -> None:
        new = Verifier.parse(told.new)
        at = chain.keys.index(self._keys[-1]) + 1
        if told.old != self._keys[-1].text or at >= len(chain.keys) or chain.keys[at] != new:
            raise ValueError(f"the key after {told.old} is not {told.new} in log.pub")
        self.notices.append(f"From entry {act.index} on another key signs: {told.new}.")
        self._in_force(act.index, new)

    def _in_force(self, index: int, key: Verifier) -> None:
        self._since.append(index + 1)
        self._keys.append(key)

    def _check_newest(self) -> None:
        if self._chain is not None and self._keys[-1] != self._chain.newest:
            self._findings.add(
                f"log.pub ends with the key {self._chain.newest.text}, which no entry of the log introduces: the key "
                "was swapped, or the entry is gone."
            )
