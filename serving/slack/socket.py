"""Clicks over a WebSocket that the app opens itself (Socket Mode): for who has no address that Slack can reach."""

import asyncio
import hashlib
from typing import Any

import msgspec
import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from db.errors import StoreError
from serving.slack.api import UNREACHABLE
from serving.slack.clicks import Clicks, Taken
from serving.slack.payloads import NoClick

log = structlog.get_logger()

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class SlackSocket:
    """Keeps a connection open and gives what comes over it to `clicks`: written down, acknowledged, carried out.

    The SDK reconnects when Slack asks for it (`disconnect`) and when the connection breaks; connections overlap, so a
    click may come twice, which `clicks` tells by its payload.
    """

    def __init__(
        self, app_token: str, clicks: Clicks, *, api_url: str = "https://slack.com/api/", ping_s: float = 5.0
    ) -> None:
        self._app_token = app_token
        self._api_url = api_url
        self._clicks = clicks
        self._ping_s = ping_s

    async def run(self) -> None:
        """Until cancelled."""
        client = SocketModeClient(
            self._app_token,
            web_client=WebClient(base_url=self._api_url, timeout=10, retry_handlers=[]),
            ping_interval=self._ping_s,
        )
        client.socket_mode_request_listeners.append(self._heard)
        try:
            await self._connect(client)
            await asyncio.Event().wait()
        finally:
            # It waits for its threads.
            await asyncio.to_thread(client.close)

    async def _connect(self, client: SocketModeClient) -> None:
        """The first time; from then on the SDK connects again by itself."""
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                await asyncio.to_thread(client.connect)
            except SlackApiError as error:
                response: Any = error.response
                told = response.get("error") if isinstance(response.data, dict) else response.status_code
                advice = (
                    "HOMEOSTAT_SLACK_APP_TOKEN must be an app-level token (xapp-...) with connections:write."
                )
                log.error("Slack refused a socket", error=told, advice=advice, again_in_s=wait_s)
            except UNREACHABLE as error:
                log.warning("Slack cannot be reached", reason=type(error).__name__, again_in_s=wait_s)
            else:
                log.info("Clicks in Slack come over a socket")
                return
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_RETRY_S)

    def _heard(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        if request.type != "interactive":
            self._acknowledge(client, request, Taken())
            return
        payload = msgspec.json.encode(request.payload, order="sorted")
        try:
            taken = self._clicks.take(payload, hashlib.sha256(payload).hexdigest())
        except NoClick as error:
            log.warning("Slack sent what is no click", reason=str(error)[:200])
            taken = Taken()
        except StoreError as error:
            # Not acknowledged: Slack tells the person that the app did not answer.
            log.error("A click in Slack could not be written down", reason=str(error))
            return
        self._acknowledge(client, request, taken)
        if taken.later is not None:
            taken.later()

    def _acknowledge(self, client: BaseSocketModeClient, request: SocketModeRequest, taken: Taken) -> None:
        try:
            client.send_socket_mode_response(SocketModeResponse(request.envelope_id, taken.reply))
        except UNREACHABLE as error:
            # The click is written down and is carried out all the same.
            log.warning("A click in Slack could not be acknowledged", reason=type(error).__name__)
