"""Random requests, valid and not: no fault, no status that the documentation lacks."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engine.server import create_app
from tests.engine.scripted import ScriptedService

EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def service() -> ScriptedService:
    scripted = ScriptedService(delay=0)
    scripted.ready = True
    return scripted


schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(service()))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schema.parametrize()
@fuzzed
def test_json_answers(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS)


@schema.include(path="/v1/stories").parametrize()
@fuzzed
def test_event_streams(case: schemathesis.Case) -> None:
    case.call_and_validate(headers={"Accept": "text/event-stream"}, checks=CHECKS)
