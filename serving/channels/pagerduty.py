"""PagerDuty's Events API v2: one alert per incident, called, acknowledged and called off by its id."""

from typing import Any, Literal

import msgspec

from serving.channels.bulletin import Bulletin
from serving.channels.posting import post
from serving.picture import Drawn

_ADVICE = "Look at `url`, and at the integration key (32 characters) that `key_env` names."
_LONGEST_SUMMARY = 1_024
_LONGEST_KEY = 255

Doing = Literal["trigger", "acknowledge", "resolve"]


def doing(bulletin: Bulletin) -> Doing | None:
    """What PagerDuty has to do; None where its alert stays as it is."""
    if bulletin.event == "approval_decided":
        return "acknowledge" if bulletin.approval_state in ("approved", "rejected") else None
    if bulletin.event == "incident_resolved":
        return "resolve"
    if bulletin.event == "incident_ended":
        # Rejected: a person has looked. Expired: nobody has, and the model is as ill as before.
        return "resolve" if bulletin.incident_state == "rejected" else None
    return "trigger"


def severity(bulletin: Bulletin) -> str:
    """An illness that Homeostat could not treat is worse than one that waits for a person."""
    untreated = bulletin.event in ("incident_escalated", "overdue")
    if bulletin.severity == "critical":
        return "critical"
    return "error" if untreated else "warning"


class PagerDuty:
    """A `Transport` to one integration."""

    shows_pictures = False

    def __init__(self, name: str, url: str, key: str) -> None:
        self.name = name
        self._url = url
        self._key = key

    async def send(self, bulletin: Bulletin, picture: Drawn | None) -> None:
        """Enqueue the event; 202 means that PagerDuty has it. Events with one `dedup_key` are one alert."""
        del picture
        what = doing(bulletin)
        if what is None:
            return
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": what,
            "dedup_key": f"homeostat/{bulletin.unique(bulletin.thread)}"[:_LONGEST_KEY],
        }
        if what == "trigger":
            event |= {
                "payload": _payload(bulletin),
                "client": "Homeostat",
                "links": [{"href": each.url, "text": each.title} for each in bulletin.links],
            }
            if bulletin.links:
                event["client_url"] = bulletin.links[0].url
        await post(self._url, msgspec.json.encode(event), {}, advice=_ADVICE)


def _payload(bulletin: Bulletin) -> dict[str, Any]:
    details = {each.title: "\n".join(each.lines) for each in bulletin.facts}
    details |= {"What happened": bulletin.text} | ({"Asked": bulletin.asks} if bulletin.asks else {})
    details |= {"Environment": bulletin.environment} if bulletin.environment else {}
    return {
        "summary": bulletin.headline[:_LONGEST_SUMMARY],
        "source": bulletin.model or "homeostat",
        "severity": severity(bulletin),
        "timestamp": bulletin.at,
        "component": f"version {bulletin.version}" if bulletin.version else "homeostat",
        "class": bulletin.cause or bulletin.event,
        "custom_details": details,
    }
