"""The REST API: what auditors, commands and the console read, and where people decide."""

from serving.api.app import create_api
from serving.api.services import ApiServices

__all__ = ["ApiServices", "create_api"]
