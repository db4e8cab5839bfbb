"""The demo talks to the running stack as any client would: over REST."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
from pydantic import SecretStr

from deploy.cli.client import problem
from deploy.errors import UserError

Json = dict[str, Any]


class Calls:
    """An asynchronous client of the REST API and of the inference server."""

    def __init__(self, api_url: str, serving_url: str, token: SecretStr | None = None) -> None:
        self.api_url = api_url
        self.serving_url = serving_url
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._http = httpx.AsyncClient(timeout=30.0, headers=headers)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> Json:
        """The JSON object at `/api/v1` + `path`."""
        return await self._call("GET", f"{self.api_url}/api/v1{path}", params=query)

    async def post(self, path: str, body: Json) -> Json:
        """The answer to a change."""
        return await self._call("POST", f"{self.api_url}/api/v1{path}", json=body)

    async def serves(self, model: str) -> str | None:
        """The version that the inference server has loaded."""
        answer = await self._call("GET", f"{self.serving_url}/v1/models")
        for entry in answer["models"]:
            if entry["model"] == model:
                return cast("str", entry["version"])
        return None

    async def until(self, what: str, question: "Callable[[], Any]", timeout_s: float) -> Any:
        """Ask every 0.2 s until the answer is true; raises `UserError` naming `what` when time is up."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = await question()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise UserError(
                    f"Waited {timeout_s:.0f} s for {what}, in vain. The logs are in the home's `logs` folder."
                )
            await asyncio.sleep(0.2)

    async def _call(self, method: str, url: str, **arguments: Any) -> Json:
        try:
            response = await self._request(method, url, **arguments)
            response.raise_for_status()
        except httpx.HTTPError as error:
            detail = problem(error.response) if isinstance(error, httpx.HTTPStatusError) else str(error)
            raise UserError(f"{method} {url} failed: {detail}") from error
        return cast("Json", response.json())

    async def _request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        """A question is asked again where the server has just given up the idle connection: on a busy machine five
        seconds pass between two of them."""
        try:
            return await self._http.request(method, url, **arguments)
        except httpx.RemoteProtocolError:
            if method != "GET":
                raise
            return await self._http.request(method, url, **arguments)
