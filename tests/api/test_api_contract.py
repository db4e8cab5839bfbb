"""What the API answers is what its OpenAPI description says, for generated requests."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.api_world import World
from tests.api.conftest import Serve

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
ROUTES = 21


def test_the_api_keeps_its_contract(ill: World, serve: Serve) -> None:
    with serve(ill.app()) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [each.ok() for each in schema.get_all_operations()]
        assert len(operations) >= ROUTES
        for operation in operations:
            _exercise(operation)


def _exercise(operation: schemathesis.APIOperation) -> None:
    @settings(
        max_examples=8,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def once(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    once()
