"""The messages that the Functions host and its Python worker exchange, without protobuf and gRPC.

The worker library is handed these classes in place of the generated ones. Names, fields and enum values are those
of the host's FunctionRpc.proto; what has another name, or a value of another type, is refused, as protobuf does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import ClassVar


@dataclass
class TypedData:
    """A value, with one field set: the forms that our triggers and bindings meet."""

    string: str | None = None
    json: str | None = None
    bytes: bytes | None = None
    http: RpcHttp | None = None

    def __post_init__(self) -> None:
        for name, kind in (("string", str), ("json", str), ("bytes", bytes), ("http", RpcHttp)):
            value = getattr(self, name)
            if not (value is None or isinstance(value, kind)):
                raise TypeError(f"TypedData.{name} takes {kind.__name__}, not {type(value).__name__}")

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        return next((name for name, value in vars(self).items() if value is not None), None)


@dataclass
class RpcHttp:
    """An HTTP request as the host hands it over (its headers' names in lower case), or the answer to it.

    body: bytes, which the worker asks the host for; none of its fields is set for an empty one.
    """

    method: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: TypedData = field(default_factory=TypedData)
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    status_code: str = ""
    enable_content_negotiation: bool = False
    cookies: Sequence[object] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.status_code, str):
            raise TypeError(f"RpcHttp.status_code takes str, not {type(self.status_code).__name__}")


@dataclass
class ParameterBinding:
    """A function's argument by name, with its value."""

    name: str = ""
    data: TypedData | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        return "data" if self.data is not None else None


@dataclass
class RpcException:
    """What a function, or loading the app, failed with."""

    source: str = ""
    stack_trace: str = ""
    message: str = ""


@dataclass
class StatusResult:
    """How a request went."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1
    status: int = 0
    exception: RpcException | None = None


@dataclass
class BindingInfo:
    """One of a function's bindings."""

    undefined: ClassVar[int] = 0
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2
    type: str = ""
    direction: int = 0
    data_type: int = 0


@dataclass
class RpcRetryOptions:
    """A function's retry policy."""

    max_retry_count: int = 0
    retry_strategy: str = ""
    delay_interval: timedelta | None = None
    minimum_interval: timedelta | None = None
    maximum_interval: timedelta | None = None


@dataclass
class RpcFunctionMetadata:
    """A function that was indexed; raw_bindings are its bindings in JSON, as the host reads them."""

    name: str = ""
    function_id: str = ""
    directory: str = ""
    script_file: str = ""
    entry_point: str = ""
    is_proxy: bool = False
    language: str = ""
    managed_dependency_enabled: bool = False
    bindings: Mapping[str, BindingInfo] = field(default_factory=dict)
    raw_bindings: Sequence[str] = ()
    retry_options: RpcRetryOptions | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FunctionMetadataResponse:
    """All functions that were indexed."""

    function_metadata_results: Sequence[RpcFunctionMetadata] | None = None
    result: StatusResult | None = None
    use_default_metadata_indexing: bool = False


@dataclass
class WorkerMetadata:
    """What the worker says of itself."""

    runtime_name: str = ""
    runtime_version: str = ""
    worker_version: str = ""
    worker_bitness: str = ""
    custom_properties: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WorkerInitRequest:
    """Load the app in this folder."""

    function_app_directory: str
    capabilities: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WorkerInitResponse:
    """Whether the app could be loaded."""

    capabilities: Mapping[str, str] = field(default_factory=dict)
    worker_metadata: WorkerMetadata | None = None
    result: StatusResult | None = None


@dataclass
class RpcTraceContext:
    """Where an invocation belongs in a trace: nowhere."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class RetryContext:
    """The how-manieth try an invocation is: the first."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException | None = None


@dataclass
class InvocationRequest:
    """Run one function."""

    invocation_id: str
    function_id: str
    input_data: Sequence[ParameterBinding]
    trigger_metadata: Mapping[str, TypedData]
    trace_context: RpcTraceContext = field(default_factory=RpcTraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)


@dataclass
class InvocationResponse:
    """How it went, and the values of the output bindings that were set."""

    invocation_id: str = ""
    return_value: TypedData | None = None
    output_data: Sequence[ParameterBinding] = ()
    result: StatusResult | None = None


@dataclass
class StreamingMessage:
    """The envelope of a request; one of these is set."""

    worker_init_request: WorkerInitRequest | None = None
    functions_metadata_request: object | None = None
    invocation_request: InvocationRequest | None = None


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    FunctionMetadataResponse=FunctionMetadataResponse,
    InvocationResponse=InvocationResponse,
    ParameterBinding=ParameterBinding,
    RpcException=RpcException,
    RpcFunctionMetadata=RpcFunctionMetadata,
    RpcHttp=RpcHttp,
    RpcRetryOptions=RpcRetryOptions,
    StatusResult=StatusResult,
    TypedData=TypedData,
    WorkerInitResponse=WorkerInitResponse,
    WorkerMetadata=WorkerMetadata,
)
"""What the worker takes for the module of the generated classes."""


def request(message: StreamingMessage) -> SimpleNamespace:
    """A request as the proxy worker hands it to the library."""
    return SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": PROTOS})
