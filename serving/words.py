"""How states, times and numbers are told to a person. A shape goes with every colour."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from detectors.explain import KIND_NAMES
from detectors.names import MEASURE_NAMES
from remediation import vocabulary
from remediation.notices import AUDITED_AS
from remediation.playbooks.proposal import is_cleanup
from remediation.questions import is_about_share, is_question
from remediation.values import AuditEntry, Plan
from remediation.vocabulary import Deed

KINDS = KIND_NAMES
CAUSES = vocabulary.CAUSES
STATES = {
    "open": "Looking for the cause",
    "diagnosed": "Cause found, planning",
    "awaiting_approval": "Waiting for a decision",
    "executing": "Being treated",
    "verifying": "Treated, watching whether it helped",
    "resolved": "Resolved",
    "escalated": "Escalated: a person must look",
    "rejected": "Ended without action: rejected",
    "expired": "Ended without action: nobody decided",
}
_TONES = {
    "awaiting_approval": "ask",
    "resolved": "good",
    "approved": "good",
    "succeeded": "good",
    "done": "good",
    "escalated": "bad",
    "failed": "bad",
    "reverted": "bad",
    "firing": "bad",
    "rejected": "still",
    "expired": "still",
    "void": "still",
    "pending": "ask",
    "intended": "still",
}
_SHAPES = {"good": "●", "bad": "■", "ask": "◆", "busy": "▲", "still": "○"}
_PERCENT = frozenset(
    {"accuracy", "f1", "macro_f1", "auc", "balanced_accuracy", "precision", "recall", "positive_rate", "mape"}
    | {"top_2_accuracy", "top_3_accuracy", "class_recall"}
)
_MESSAGES = {
    "approval_requested": "a decision is needed",
    "approval_decided": "it was decided",
    "incident_closed": "the incident has ended",
    "noticed": "a notice",
    "snoozed": "the ticket was snoozed",
    "snooze": "the snooze is over",
    "votes": "another person has consented",
    "reminder": "a reminder",
    "escalation": "nobody has answered, escalation",
}


class Status(NamedTuple):
    """A state in words, with the class that colours it and the shape that does the same without colour."""

    text: str
    tone: str
    shape: str


def status(state: str, text: str | None = None) -> Status:
    """The state of an incident, a ticket, an action or a step."""
    tone = _TONES.get(state, "busy")
    return Status(text or STATES.get(state, state.replace("_", " ").capitalize()), tone, _SHAPES[tone])


def toned(text: str, tone: str) -> Status:
    """A status of one's own."""
    return Status(text, tone, _SHAPES[tone])


def measure(name: str) -> str:
    """A measure's name."""
    return MEASURE_NAMES.get(name, name.replace("_", " ").capitalize())


def number(name: str, value: float | None) -> str:
    """Shares in percent, everything else with three digits."""
    if value is None:
        return "–"
    share = name.removeprefix("estimated_") in _PERCENT
    return f"{value * 100:.1f} %" if share or name.endswith(("_rate", "_share")) else f"{value:.3g}"


def moment(time_us: int | None) -> str:
    """2026-11-21 12:05:09, UTC."""
    return "–" if time_us is None else f"{_at(time_us):%Y-%m-%d %H:%M:%S}"


def clock(time_us: int) -> str:
    """12:05:09, UTC."""
    return f"{_at(time_us):%H:%M:%S}"


def iso(time_us: int) -> str:
    """RFC 3339, for machines."""
    return _at(time_us).isoformat().replace("+00:00", "Z")


def duration(from_us: int | None, to_us: int | None) -> str:
    """From one moment to another in its largest units."""
    if from_us is None or to_us is None:
        return "–"
    seconds = max(0.0, (to_us - from_us) / 1e6)
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


def headline(plan: Plan) -> str:
    """What is proposed, as a command: verb, model, versions."""
    model, ill, good = plan.model, plan.from_version, plan.to_version
    if is_cleanup(plan):
        return _headline_of_cleanup(plan)
    if is_question(plan):
        return f"Undo it, or {answers(plan).reject.lower()}? {_headline_of_undo(plan)}"
    match plan.action:
        case "rollback" if good == ill:
            dropped = sorted(set(plan.from_arrangement.shares) - set(plan.arrangement.shares))
            return f"Send no more requests of {model} to version {', '.join(dropped)}"
        case "rollback":
            return f"Roll back {model} from version {ill} to {good}"
        case "retrain":
            return f"Retrain {model} and replace version {ill} if the candidate is better"
        case "promote":
            return f"Promote version {good} of {model} instead of {ill}"
        case "shift_traffic":
            shares = [f"{share * 100:g} %" for share in plan.parameters.get("shares", ())]
            return f"Send {', then '.join(shares) or 'more'} of {model}'s requests to version {good} instead of {ill}"
        case "shadow":
            return f"Let version {', '.join(plan.new_shadows) or good} score {model}'s requests beside version {ill}"
        case "fall_back" if good is not None:
            return f"Fall back to version {good} of {model} instead of {ill}"
        case "fall_back":
            return (
                f"Answer every request of {model} with {plan.arrangement.constant} instead of version {ill}"
            )
        case _:
            return _headline_of_the_rest(plan)


class Answers(NamedTuple):
    """What the two buttons of a ticket are called."""

    approve: str
    reject: str


def answers(plan: Plan) -> Answers:
    """Approving a question about an action undoes that."""
    if not is_question(plan):
        return Answers("Approve", "Reject")
    return Answers("Undo it", "Go on" if is_about_share(plan) else "Keep it")


def refusal(plan: Plan) -> str:
    """What follows when a person presses the second of them."""
    if not is_question(plan):
        return "The incident ends without an action."
    if is_about_share(plan):
        shadow = plan.action == "shadow"
        return (
            f"{'The playbook goes on' if shadow else 'The new version gets its next share of the requests'}."
        )
    return "What was done stays as it is, and its incident is left to people."


def _headline_of_undo(plan: Plan) -> str:
    model, now, before = plan.model, plan.from_version, plan.to_version
    gone = sorted(set(plan.from_arrangement.shares) - set(plan.arrangement.shares))
    if now != before:
        return f"{model} version {now} instead of {before}"
    gone = gone or [each for each in plan.from_arrangement.shadows if each not in plan.arrangement.shadows]
    if gone:
        return f"{model} version {', '.join(gone)} beside {before}"
    return f"How {model} version {now} answers"


def _headline_of_cleanup(plan: Plan) -> str:
    if plan.action == "raise_log_detail":
        return f"Log the requests of {plan.model} as before the incident"
    gone = [each for each in plan.from_arrangement.shadows if each not in plan.arrangement.shadows]
    return f"Let version {', '.join(gone)} score no more requests of {plan.model}"


def _headline_of_the_rest(plan: Plan) -> str:
    model, ill = plan.model, plan.from_version
    match plan.action:
        case "quarantine_feature":
            new = {
                name: value
                for name, value in plan.arrangement.imputed.items()
                if not _imputed_before(plan, name)
            }
            told = ", ".join(
                f"{name} by {'nothing' if value is None else f'{value:g}'}" for name, value in new.items()
            )
            return f"Quarantine in {model}: replace {told or 'features'} before version {ill} scores"
        case "pause_model":
            return f"Pause {model}: refuse every request"
        case "raise_log_detail":
            return f"Log each request of {model} in full"
        case "scale_replicas":
            return f"Run {plan.arrangement.replicas} servers of {model}"
        case "refresh_reference":
            return f"Compare version {plan.parameters.get('version', ill)} of {model} with what comes from now on"
        case "open_issue":
            return f"Open an issue about {model} version {ill}"
        case "http_call":
            return f"Call the address in {plan.parameters.get('url_env')} about {model} version {ill}"
        case "run_command":
            return f"Run `{' '.join(map(str, plan.parameters.get('argv', ())))}` for {model} version {ill}"
        case _:
            return f"{vocabulary.ACTIONS[plan.action].command}: {model} version {ill}"


def _imputed_before(plan: Plan, name: str) -> bool:
    before = plan.from_arrangement.imputed
    return name in before and before[name] == plan.arrangement.imputed[name]


def deed(kind: str) -> str:
    """What an action of the kind is called."""
    return _deed(kind, Deed("", kind.replace("_", " ").capitalize())).noun


def told(entry: AuditEntry) -> tuple[str, Status]:
    """An audit entry as a sentence with its tone."""
    kind, _, verb = entry.action.partition(".")
    detail = entry.detail
    told_by = {
        "incident": _incident,
        "plan": _plan,
        "approval": _approval,
        "action": _action,
        "model": partial(_model, entry.subject),
        "silence": _silence,
    }
    if entry.action in AUDITED_AS.values():
        return str(detail.get("why", entry.action)), toned("", "bad")
    if kind in told_by:
        return told_by[kind](verb, detail)
    if kind == "notification":
        return _notification(verb, detail)
    if entry.action == "alert.linked":
        return f"Alert taken in: {str(detail.get('kind', '')).replace('_', ' ')}", toned("", "still")
    if entry.action == "change.recorded":
        return f"Change recorded: {detail.get('kind')} {detail.get('title')!r}", toned("", "still")
    if entry.action == "alert.released":
        return _with("Alert no longer silenced", detail.get("why")), toned("", "still")
    return entry.action.replace("_", " ").replace(".", ": "), toned("", "still")


def _notification(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    """A message that has several of its kind ends in a number, which is for machines."""
    where = f" ({detail['channel']})" if detail.get("channel") else ""
    kind = str(detail.get("kind", ""))
    name, _, number = kind.rpartition("-")
    text = _MESSAGES.get(name if number.isdigit() else kind, kind.replace("_", " "))
    if verb == "given_up":
        return f"A message was given up after a day{where}: {text}", toned("", "bad")
    return f"People were told{where}: {text}", toned("", "still")


def _silence(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    lead = "Silence extended" if verb == "extended" else "Silenced"
    what = "Silence ended" if verb == "ended" else f"{lead} until {moment(detail.get('until_us'))} UTC"
    return _with(f"{what}: {detail.get('covers')}", detail.get("why")), toned("", "still")


def _incident(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    if "model" in detail:
        return f"Incident opened: {detail['model']} version {detail.get('version')} is ill", toned("", "bad")
    if verb == "feedback_intended":
        return _with(f"A person is about to say: {detail.get('said')}", detail.get("why")), toned("", "still")
    if verb == "feedback":
        return _with(f"A person said: {detail.get('said')}", detail.get("why")), toned("", "still")
    if verb == "cause":
        named = CAUSES.get(detail.get("cause", "unknown"), "unknown")
        return _with(f"The true cause, as a person said: {named}", detail.get("why")), toned("", "still")
    return _with(STATES.get(verb, f"Incident {verb}"), detail.get("why")), status(verb)


def _plan(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    action = _deed(detail.get("action"), Deed("act on", "")).command.lower()
    versions = f" from version {detail.get('from_version')}"
    if detail.get("to_version"):
        versions += f" to {detail['to_version']}"
    return f"Plan {verb}: {action} {detail.get('model')}{versions}", toned("", "busy")


def _deed(kind: object, otherwise: Deed) -> Deed:
    return next((deed for name, deed in vocabulary.ACTIONS.items() if name == kind), otherwise)


def _approval(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    if verb == "requested":
        return "A decision is needed", status("pending")
    if verb == "updated":
        return "The question was posted", toned("", "still")
    if verb == "snoozed":
        return f"Snoozed by {detail.get('by')} until {moment(detail.get('until_us'))} UTC", status("pending")
    if verb == "voted":
        return f"Approved by {detail.get('by')}: {detail.get('votes')} of {detail.get('quorum')}", status(
            "pending"
        )
    by = f" by {detail['decided_by']}" if detail.get("decided_by") else ""
    where = f" ({detail['channel']})" if detail.get("channel") else ""
    glass = ", breaking the glass" if detail.get("broken_glass") else ""
    return _with(f"{verb.capitalize()}{by}{where}{glass}", detail.get("reason")), status(verb)


def _action(verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    name = _deed(detail.get("kind"), Deed("", "Action")).noun
    step = detail.get("step")
    if verb == "updated" and isinstance(step, dict):
        return f"{name}: step {step.get('name')} {step.get('state')}", status(str(step.get("state")))
    return _with(f"{name}: {verb.replace('_', ' ')}", detail.get("outcome")), status(verb)


def _model(subject: str, verb: str, detail: dict[str, Any]) -> tuple[str, Status]:
    version = detail.get("version") or subject.rpartition("/")[2]
    if verb in ("register_intended", "register_failed"):
        ending = "is about to be registered" if verb == "register_intended" else "could not be registered"
        return _with(f"A version of {version} {ending}", detail.get("why") or detail.get("reason")), toned(
            "", "busy"
        )
    if verb in ("sign_intended", "sign_failed"):
        what = "is about to be signed" if verb == "sign_intended" else "could not be signed"
    else:
        what = "shall serve" if verb == "desired" else verb.replace("_", " ")
    return _with(f"Version {version} {what}", detail.get("why") or detail.get("reason")), toned("", "busy")


def _with(text: str, why: object) -> str:
    return f"{text}: {why}" if why else text


def _at(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)
