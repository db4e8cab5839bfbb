"""An MLflow server and the errors it answers with. With `registry`, all that this room knows of MLflow."""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from serving.model_errors import RegistryRefused, RegistryUnreachable

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""MLflow's own defaults keep a caller waiting for minutes while its server is away; retries are the caller's
here."""

_IN_TROUBLE = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
_ABSENT, _EXISTS = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"

T = TypeVar("T")


class MlflowServer:
    """Asks the server at `uri` (or the database, which MLflow opens as well), which is told without the name and the
    password that may stand in it. MLflow itself is imported at the first call, which takes seconds."""

    def __init__(self, uri: str) -> None:
        self.uri, self._credentials = _apart(uri)
        # What is no HTTP takes name and password from the address only.
        self._opens = self.uri if urlsplit(uri).scheme in ("http", "https") else uri
        self._opening = threading.Lock()
        self._opened: Any = None

    def found(self, ask: Callable[[Any], T]) -> T | None:
        """What was asked for, or None when the server says that it does not exist."""
        try:
            return self.call(ask)
        except RegistryRefused as error:
            if getattr(error.__cause__, "error_code", None) in (_ABSENT, "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def call(self, ask: Callable[[Any], T]) -> T:
        """Run `ask` with MLflow's client; its errors become this room's."""
        client = self._client()
        from mlflow.exceptions import MlflowException, RestException
        from requests import RequestException

        try:
            return ask(client)
        except RestException as error:
            if error.error_code in _IN_TROUBLE:
                raise RegistryUnreachable(f"the registry at {self.uri} is in trouble: {error}") from error
            raise RegistryRefused(f"the registry at {self.uri} refused: {error}") from error
        except (MlflowException, RequestException, OSError) as error:
            raise RegistryUnreachable(f"the registry at {self.uri} does not answer: {error}") from error

    def _client(self) -> Any:
        with self._opening:
            if self._opened is None:
                for name, value in _SETTINGS.items():
                    os.environ.setdefault(name, value)
                # MLflow repeats the whole address in its errors, and reads these from the environment only.
                os.environ.update(self._credentials)
                from mlflow.tracking import MlflowClient

                logging.getLogger("mlflow").setLevel(logging.WARNING)
                self._opened = MlflowClient(self._opens, registry_uri=self._opens)
            return self._opened


def _apart(uri: str) -> tuple[str, dict[str, str]]:
    """The address without name and password, and these as MLflow's variables."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri, {}
    given, _, host = parts.netloc.rpartition("@")
    name, _, password = given.partition(":")
    variables = {"MLFLOW_TRACKING_USERNAME": unquote(name), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return parts._replace(netloc=host).geturl(), variables


def made(make: Callable[[str], T], name: str) -> T | None:
    """What was made, or None when somebody had made it before."""
    from mlflow.exceptions import RestException

    try:
        return make(name)
    except RestException as error:
        if error.error_code != _EXISTS:
            raise
        return None


def all_pages(search: Callable[..., Any], filter_string: str = "") -> list[Any]:
    """Everything that a search of MLflow finds, page by page."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(filter_string=filter_string, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found
