"""Traces by OpenTelemetry, where its own environment variables ask for them; without these nothing is imported.

A span tells what was done and how long it took, statements with their placeholders, and errors: never a key, and of
what was asked and read only what an error's message repeats.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pgfolio.config.environment import set_variable, variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    Attributes: TypeAlias = Mapping[str, str | int | float]
    OptionalSpan: TypeAlias = AbstractContextManager[Span | None]

LOG = logging.getLogger("pgfolio.config.telemetry")
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT: Final = "TRACEPARENT"
"""The variable, in W3C's form, by which a run's processes and threads know which span they belong to."""

FLUSH_MILLISECONDS: Final = 5000
NOTHING: Final = nullcontext()
MISSING: Final = (
    "the environment asks for traces (%s): pip install 'pgfolio[telemetry]'; there are none until then"
)

_tracer: Tracer | None = None
_outer_parent: str | None = None
_is_decided = False


def start(service: str) -> None:
    """Once in a process, before it opens connections. `service`: its name where OTEL_SERVICE_NAME says none."""
    global _tracer, _is_decided, _outer_parent  # noqa: PLW0603 -- one provider for a process, as OpenTelemetry has it
    if _is_decided:
        return
    _is_decided = True
    endpoints = [name for name in ENDPOINTS if variables().get(name)]
    is_disabled = variables().get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not endpoints or is_disabled or variables().get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        LOG.warning(MISSING, endpoints[0])
        return
    _outer_parent = variables().get(PARENT)
    try:
        _tracer = _started_tracer(service)
    except ImportError:
        LOG.warning(MISSING, endpoints[0])


def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Literal["INTERNAL", "SERVER"] = "INTERNAL",
    carrier: Mapping[str, str] | None = None,
) -> OptionalSpan:
    """Around a part of the work; None inside where there are no traces. `carrier`: headers of who asked for it."""
    if _tracer is None:
        return NOTHING
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    return _tracer.start_as_current_span(
        name, context=_parent(carrier), kind=SpanKind[kind], attributes=attributes
    )


def is_on() -> bool:
    return _tracer is not None


@contextmanager
def root_span(name: str) -> Iterator[None]:
    """As `span`, and also the parent of spans of other threads and of processes that are started inside."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    # Several runs may go side by side in a process: none is the other's parent, whichever wrote the variable last.
    set_variable(PARENT, _outer_parent)
    with span(name):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        set_variable(PARENT, carrier["traceparent"])
        try:
            yield
        finally:
            set_variable(PARENT, _outer_parent)


def end_server_span(span: Span | None, name: str, status: int, attributes: Attributes) -> None:
    """What is known of a request once it is answered."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.update_name(name)
    span.set_attributes({**attributes, "http.response.status_code": status})
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def flush() -> None:
    """In a process that ends at once: what it has is sent now."""
    if _tracer is not None:
        from opentelemetry import trace  # noqa: PLC0415

        provider: Any = trace.get_tracer_provider()
        provider.force_flush(FLUSH_MILLISECONDS)


def _parent(carrier: Mapping[str, str] | None) -> Context | None:
    """None: the span that is current here."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    if carrier is None:
        if trace.get_current_span().get_span_context().is_valid or not variables().get(PARENT):
            return None
        carrier = {"traceparent": variables()[PARENT]}
    return TraceContextTextMapPropagator().extract(carrier)


def _started_tracer(service: str) -> Tracer:
    """The provider is the process's: one that is there already stays."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        is_named = variables().get("OTEL_SERVICE_NAME") or "service.name=" in variables().get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        provider = TracerProvider(resource=Resource.create({} if is_named else {"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(_exporter()))
        trace.set_tracer_provider(provider)
    PsycopgInstrumentor().instrument(skip_dep_check=True)
    return trace.get_tracer("pgfolio")


def _exporter() -> Any:
    """By the protocol that the environment names; reads its endpoint, headers and timeouts there itself."""
    protocol = variables().get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or variables().get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
