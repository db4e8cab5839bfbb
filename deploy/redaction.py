"""What a redaction cannot reach, for whoever has to see to it: what left the database before, or lies in Kafka."""

from collections.abc import Iterator

from db.audit.keeping import Removed

_DESIRED = "homeostat.serving.desired"
_CONTROL = "homeostat.control"


def remaining(removed: Removed) -> Iterator[str]:
    """Sentences about what still holds the words: first what a command can change, then what lies outside."""
    left = removed.leftovers
    if left.entries:
        places = ", ".join(map(str, left.first)) + (" ..." if left.entries > len(left.first) else "")
        yield (
            f"The same words stand in {left.entries} entries of the log ({places}): redact each of them, too "
            "(homeostat audit redact ENTRY)."
        )
    if left.open:
        yield (
            f"The text that is hashed holds them in the entries {', '.join(map(str, left.open))}: as the name of a "
            "model, a version or a part, or because the entry is older than sealing. No command takes them out there."
        )
    if left.rows:
        told = ", ".join(f"{count} of {table}" for table, count in sorted(left.rows.items()))
        yield (
            f"Rows of the database hold them: {told}. Those who decided, and why, and the sentence that an incident or "
            "an action ended with, go with the entries that wrote the rows last; alerts go with their retention, "
            "clicks in Slack once they are carried out. Inside another sentence no command takes them out."
        )
    yield from out_of_reach(removed.action, removed.subject)


def out_of_reach(action: str, subject: str) -> Iterator[str]:
    """What no command reaches, of an entry that tells of `action` about `subject`."""
    if action == "model.desired":
        model = subject.partition("/")[2]
        yield (
            f"Kafka, topic {_DESIRED}, key {model}: the last decision names who made it and why, until the next one "
            f"about {model} and the broker's compaction after that."
        )
    elif action == "incident.feedback":
        yield (
            f"Kafka, topic {_CONTROL}: what was said stays there for good, with its author and reason. Write a record "
            "without a value under its key (docs/audit.md); a replay of that time then no longer hears it."
        )
    elif action == "model.registered" or subject.startswith("action/"):
        yield (
            "MLflow: a version that was registered then may repeat the words in its tags (homeostat.reason, "
            "homeostat.card) and in its file model/model_card.json; edit all of them, then homeostat models sign, for "
            "the signature covers the card."
        )
    yield (
        "Backups of the database from before now: delete them, or redact again after one of them was restored "
        "(homeostat audit verify then says that a value was put back)."
    )
    yield (
        "What was handed out or sent: exports, reports, post-mortems, mail, Slack, Teams, PagerDuty, webhooks; and the "
        "log files of agent and API."
    )
