"""What all bodies that people send have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from remediation.errors import ReasonMissing
from remediation.reasons import stated


def _stated(reason: str) -> str:
    try:
        return stated(reason)
    except ReasonMissing as error:
        raise PydanticCustomError("reason_missing", "{sentence}", {"sentence": str(error)}) from error


Why = Annotated[
    str,
    StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$"),
    AfterValidator(_stated),
    Field(json_schema_extra={"minLength": 1}),
]
"""A reason for the record, without space around it; PostgreSQL cannot keep NUL characters."""


class Given(BaseModel):
    """A body. What it does not know it refuses: a field with a slip in its name would otherwise count as not said."""

    model_config = ConfigDict(extra="forbid")
