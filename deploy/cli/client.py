"""The commands' way to the REST API."""

import getpass
from typing import Any, cast

import httpx

from deploy.errors import UserError
from deploy.settings import Settings
from deploy.stack.lifecycle import status


def api_url(settings: Settings) -> str:
    """The configured API, or the one of the stack that runs in the home."""
    if settings.api_url:
        return settings.api_url.rstrip("/")
    part = status(settings.home).part("api")
    if part is not None and part.url:
        return part.url
    raise UserError(
        f"No Homeostat runs in {settings.home}. Start one with `homeostat up`, name another home with --home, or set "
        "HOMEOSTAT_API_URL to the address of a running API."
    )


def whoami() -> str:
    """The name under which decisions are recorded unless `--by` names another."""
    return getpass.getuser()


class ApiClient:
    """Calls the REST API and turns its problems into one sentence."""

    def __init__(self, settings: Settings) -> None:
        self.url = api_url(settings)
        headers = {}
        if settings.api_token:
            headers["Authorization"] = f"Bearer {settings.api_token.get_secret_value()}"
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30.0)

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """The JSON object at `path`; `query` values of None are left out."""
        given = {key: cast("str", value) for key, value in query.items() if value is not None}
        return self._call("GET", path, params=given)

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """The JSON answer to a change."""
        return self._call("POST", path, json={key: value for key, value in body.items() if value is not None})

    def post_list(self, path: str, body: dict[str, object]) -> list[dict[str, Any]]:
        """The same for an answer that is a list."""
        return cast("list[dict[str, Any]]", self._call("POST", path, json=body))

    def text(self, path: str) -> str:
        """The text at `path`."""
        return self._answer("GET", path).text

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return cast("dict[str, Any]", self._answer(method, path, **arguments).json())

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise UserError(
                f"The API at {self.url} does not answer ({error}). Is the stack up? `homeostat status`"
            ) from error
        if response.is_error:
            raise UserError(problem(response))
        return response


def problem(response: httpx.Response) -> str:
    """What the API says is wrong, in words."""
    if "json" not in response.headers.get("content-type", ""):
        return f"The API answered {response.status_code} without saying why."
    said = cast("dict[str, Any]", response.json())
    text = str(said.get("detail") or said.get("title") or response.status_code)
    fields = [str(field) for field in said.get("errors", [])]
    return text if not fields else text + "\n  " + "\n  ".join(fields)
