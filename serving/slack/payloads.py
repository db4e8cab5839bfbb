"""What Slack sends when somebody clicks, as far as it concerns us."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from detectors.values import Value
from serving.slack.blocks import APPROVE, DETAILS, MORNING, REJECT, SNOOZE, SNOOZES, ButtonValue
from serving.slack.modals import REASON, REJECTION, RejectionOf

_MORNING_H = 8
_LONGEST_NAME = 200


class NoClick(ValueError):
    """The payload is not an interaction with a message of Homeostat."""


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""


class _Option(msgspec.Struct):
    value: str = ""


class _Pressed(msgspec.Struct):
    action_id: str
    value: str = ""
    selected_option: _Option | None = None


class _Container(msgspec.Struct):
    channel_id: str = ""
    message_ts: str = ""


class _View(msgspec.Struct):
    callback_id: str = ""
    private_metadata: str = ""
    state: dict[str, Any] = {}


class _Payload(msgspec.Struct):
    type: str
    user: _User
    actions: list[_Pressed] = []
    response_url: str = ""
    trigger_id: str = ""
    container: _Container | None = None
    view: _View | None = None


class Click(Value, frozen=True, kw_only=True):
    """What a person has said: kept from its acknowledgement until it is carried out. `message`: where they clicked,
    `CHANNEL:TS`."""

    says: Literal["approve", "reject", "snooze"]
    approval: str
    by: str
    identity: str
    plan_hash: str = ""
    reason: str | None = None
    minutes: float = 0.0
    response_url: str = ""
    message: str = ""


class Opening(Value, frozen=True, kw_only=True):
    """A click that only opens a window, and decides nothing."""

    opens: Literal["rejection", "details"]
    trigger_id: str
    about: RejectionOf
    by: str
    identity: str

    def rejection(self, reason: str) -> Click:
        """The same as a decision, where no window can ask for the reason."""
        return Click(
            says="reject",
            approval=self.about.approval,
            by=self.by,
            identity=self.identity,
            plan_hash=self.about.plan_hash,
            reason=reason,
            response_url=self.about.response_url,
            message=self.about.message,
        )


def read_payload(data: bytes, *, now: datetime | None = None) -> Click | Opening | None:
    """The click on one of our buttons; None for whatever else Slack tells about. Raises `NoClick`."""
    try:
        payload = msgspec.json.decode(data, type=_Payload)
        if payload.type == "view_submission" and payload.view and payload.view.callback_id == REJECTION:
            return _submitted(payload, payload.view)
        ours = (APPROVE, REJECT, SNOOZE, DETAILS)
        pressed = next((each for each in payload.actions if each.action_id in ours), None)
        if payload.type != "block_actions" or pressed is None:
            return None
        return _pressed(payload, pressed, now or datetime.now(UTC))
    except (ValueError, RecursionError) as error:
        raise NoClick(f"payload is not an interaction with a message of Homeostat: {error}") from error


def _pressed(payload: _Payload, pressed: _Pressed, now: datetime) -> Click | Opening:
    where = payload.container or _Container()
    message = f"{where.channel_id}:{where.message_ts}" if where.message_ts else ""
    if pressed.action_id == SNOOZE:
        chosen = pressed.selected_option.value if pressed.selected_option is not None else ""
        choice, _, approval = chosen.partition(" ")
        if choice not in SNOOZES or not approval:
            raise ValueError(f"{chosen[:80]!r} is no choice of snoozing")
        minutes = _until_morning(now) if choice == MORNING else float(choice)
        return _click(payload, "snooze", approval, message, minutes=minutes)
    ticket = msgspec.json.decode(pressed.value, type=ButtonValue)
    if pressed.action_id == APPROVE:
        return _click(payload, "approve", ticket.approval, message, plan_hash=ticket.plan_hash)
    about = RejectionOf(
        approval=ticket.approval,
        plan_hash=ticket.plan_hash,
        response_url=payload.response_url,
        message=message,
    )
    opens = "rejection" if pressed.action_id == REJECT else "details"
    by, identity = _person(payload.user), payload.user.id
    return Opening(opens=opens, trigger_id=payload.trigger_id, about=about, by=by, identity=identity)


def _submitted(payload: _Payload, view: _View) -> Click:
    about = msgspec.json.decode(view.private_metadata, type=RejectionOf)
    written = view.state.get("values", {}).get(REASON, {}).get(REASON, {}).get("value")
    if written is not None and not isinstance(written, str):
        raise ValueError("the reason is no text")
    click = _click(payload, "reject", about.approval, about.message, plan_hash=about.plan_hash)
    reason = " ".join((written or "").split())[:500]
    return msgspec.structs.replace(click, reason=reason, response_url=about.response_url)


def _click(
    payload: _Payload,
    says: Literal["approve", "reject", "snooze"],
    approval: str,
    message: str,
    *,
    plan_hash: str = "",
    minutes: float = 0.0,
) -> Click:
    return Click(
        says=says,
        approval=approval,
        by=_person(payload.user),
        identity=payload.user.id,
        plan_hash=plan_hash,
        minutes=minutes,
        response_url=payload.response_url,
        message=message,
    )


def _person(user: _User) -> str:
    """Names change and repeat, ids do not: the record has both."""
    name = user.username or user.name
    told = f"{name} ({user.id})" if name else user.id
    return "".join(each for each in told if each.isprintable())[:_LONGEST_NAME] or "somebody in Slack"


def _until_morning(now: datetime) -> float:
    """Minutes to the next 08:00 UTC, at most a day."""
    morning = now.replace(hour=_MORNING_H, minute=0, second=0, microsecond=0)
    if morning <= now:
        morning += timedelta(days=1)
    return (morning - now).total_seconds() / 60
