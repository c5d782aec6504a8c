"""The examples of the OpenAPI document are real: each request, sent as it stands to an API that serves the library,
is answered as is shown, and all that is shown is as its schema says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import pytest

from pgfolio.query_api.service.openai.errors import speaks_openai
from pgfolio.query_api.service.openapi import TRACE_ID
from tests.query_api.library import running_api, stock
from tests.record_examples import EVENTS, add_key, add_request, add_trace, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

FILES = {"/documents/{document_id}/original", "/documents/{document_id}/pages/{page}"}
"""What answers with a file is shown by no example."""

ORDER = ("get", "post", "delete")
"""What is pushed is deleted."""


class Shown(NamedTuple):
    """One operation of the document, and the examples of its request."""

    name: str
    operation: dict[str, Any]
    sent: dict[str, Any]


class Served(NamedTuple):
    client: httpx.Client
    document: dict[str, Any]
    shown: list[Shown]


@pytest.fixture(scope="module")
def served(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[Served]:
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings)
        with running_api(settings, conninfo) as client:
            add_key(client, conninfo)
            add_request(client)
            add_trace(client, conninfo)
            document = client.get("/schema").json()
            yield Served(client, document, shown(document))


def shown(document: dict[str, Any]) -> list[Shown]:
    found = []
    for method in ORDER:
        for path, item in document["paths"].items():
            if method in item and path not in FILES:
                parameters = {
                    p["name"]: p["example"] for p in item[method].get("parameters", []) if "example" in p
                }
                sent: dict[str, Any] = {"parameters": parameters}
                content = item[method].get("requestBody", {}).get("content", {}).get("application/json", {})
                for example in content.get("examples", {}).values():
                    sent["body"] = example["value"]
                found.append(Shown(f"{method.upper()} {path}", item[method], sent))
    return found


def shape(value: Any) -> Any:
    """Names and types, and of a list those of its first element."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def validate(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(value)


def test_every_operation_that_takes_something_has_an_example(served: Served) -> None:
    for name, operation, sent in served.shown:
        required = {p["name"] for p in operation.get("parameters", []) if p.get("required")}
        assert required <= sent["parameters"].keys()
        assert ("requestBody" in operation) == ("body" in sent), name


def test_every_request_is_answered_as_is_shown(served: Served) -> None:
    for name, operation, sent in served.shown:
        for kind in ("application/json", EVENTS):
            answer = send(served.client, name, sent, Accept=kind)
            served.client.cookies.clear()
            response = operation["responses"][str(answer.status_code)]
            assert answer.status_code < 300, (name, answer.text)
            media_type = answer.headers.get("content-type", "").removesuffix("; charset=utf-8")
            if not answer.content:
                assert "content" not in response or not response["content"]
            elif media_type == "application/json":
                content = response["content"][media_type]
                assert shape(answer.json()) == shape(content["example"]), name
                validate(served.document, content["schema"], answer.json())
            else:
                example = response["content"][media_type]["example"]
                assert {*re.findall(r"^event: \w+", example, re.MULTILINE)} <= {
                    *re.findall(r"^event: \w+", answer.text, re.MULTILINE)
                }
            if name != "POST /ask":
                break


def test_every_example_is_as_its_schema_says(served: Served) -> None:
    for name, operation, sent in served.shown:
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                validate(served.document, parameter["schema"], parameter["example"])
        if "body" in sent:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            validate(served.document, schema, sent["body"])
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if "example" in content:
                    validate(served.document, content["schema"], content["example"])
                if media_type == "application/problem+json" and "example" in content:
                    assert content["example"]["status"] == int(status)
                    assert content["example"]["trace_id"] == TRACE_ID
                elif int(status) in {200, 202}:
                    assert "example" in content, (name, status, media_type)


def test_examples_have_values_and_no_placeholders(served: Served) -> None:
    ids = re.compile(r"[0-9a-f]{32}")
    for name, operation, sent in served.shown:
        for value in [*sent["parameters"].values(), *sent.get("body", {}).values()]:
            assert value not in ("string", "", 0), name
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                example = content.get("example")
                if isinstance(example, dict) and not speaks_openai(name.split()[1]):
                    assert ids.fullmatch(example["trace_id"])
                    for item in example.get("items", []):
                        assert item["id"] > 0
                        assert re.fullmatch(r"[0-9a-f]{64}", item.get("content_hash", "0" * 64))


def test_problems_have_examples(served: Served) -> None:
    statuses = {
        status
        for _, operation, _ in served.shown
        for status, response in operation["responses"].items()
        for content in response.get("content", {}).values()
        if int(status) >= 400 and "example" in content
    }
    assert statuses == {"400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "502", "503"}
