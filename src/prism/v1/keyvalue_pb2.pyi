from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_NOT_APPLIED: _ClassVar[Outcome]
    OUTCOME_UNKNOWN: _ClassVar[Outcome]

class TtlState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TTL_STATE_UNSPECIFIED: _ClassVar[TtlState]
    TTL_STATE_ABSENT: _ClassVar[TtlState]
    TTL_STATE_PERSISTENT: _ClassVar[TtlState]
    TTL_STATE_EXPIRING: _ClassVar[TtlState]

class WatchEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_EVENT_TYPE_UNSPECIFIED: _ClassVar[WatchEventType]
    WATCH_EVENT_TYPE_PUT: _ClassVar[WatchEventType]
    WATCH_EVENT_TYPE_DELETE: _ClassVar[WatchEventType]
    WATCH_EVENT_TYPE_EXPIRE: _ClassVar[WatchEventType]

class VersionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_KIND_UNSPECIFIED: _ClassVar[VersionKind]
    VERSION_KIND_REVISION: _ClassVar[VersionKind]
    VERSION_KIND_DIGEST: _ClassVar[VersionKind]

class CapabilityName(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPABILITY_NAME_UNSPECIFIED: _ClassVar[CapabilityName]
    CAPABILITY_NAME_TTL: _ClassVar[CapabilityName]
    CAPABILITY_NAME_COMPARE_AND_SET: _ClassVar[CapabilityName]
    CAPABILITY_NAME_BATCH: _ClassVar[CapabilityName]
    CAPABILITY_NAME_SCAN: _ClassVar[CapabilityName]
    CAPABILITY_NAME_COUNTER: _ClassVar[CapabilityName]
    CAPABILITY_NAME_WATCH: _ClassVar[CapabilityName]
    CAPABILITY_NAME_TRANSACTIONS: _ClassVar[CapabilityName]

class Support(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUPPORT_UNSPECIFIED: _ClassVar[Support]
    SUPPORT_NATIVE: _ClassVar[Support]
    SUPPORT_EMULATED: _ClassVar[Support]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_NOT_APPLIED: Outcome
OUTCOME_UNKNOWN: Outcome
TTL_STATE_UNSPECIFIED: TtlState
TTL_STATE_ABSENT: TtlState
TTL_STATE_PERSISTENT: TtlState
TTL_STATE_EXPIRING: TtlState
WATCH_EVENT_TYPE_UNSPECIFIED: WatchEventType
WATCH_EVENT_TYPE_PUT: WatchEventType
WATCH_EVENT_TYPE_DELETE: WatchEventType
WATCH_EVENT_TYPE_EXPIRE: WatchEventType
VERSION_KIND_UNSPECIFIED: VersionKind
VERSION_KIND_REVISION: VersionKind
VERSION_KIND_DIGEST: VersionKind
CAPABILITY_NAME_UNSPECIFIED: CapabilityName
CAPABILITY_NAME_TTL: CapabilityName
CAPABILITY_NAME_COMPARE_AND_SET: CapabilityName
CAPABILITY_NAME_BATCH: CapabilityName
CAPABILITY_NAME_SCAN: CapabilityName
CAPABILITY_NAME_COUNTER: CapabilityName
CAPABILITY_NAME_WATCH: CapabilityName
CAPABILITY_NAME_TRANSACTIONS: CapabilityName
SUPPORT_UNSPECIFIED: Support
SUPPORT_NATIVE: Support
SUPPORT_EMULATED: Support

class Entry(_message.Message):
    __slots__ = ("value", "version", "expire_time")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    version: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, value: _Optional[bytes] = ..., version: _Optional[int] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("index", "status")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    index: int
    status: _status_pb2.Status
    def __init__(self, index: _Optional[int] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class WriteOutcome(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ...) -> None: ...

class SetRequest(_message.Message):
    __slots__ = ("key", "value", "ttl", "if_absent", "if_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    ttl: _duration_pb2.Duration
    if_absent: bool
    if_version: int
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., if_absent: bool = ..., if_version: _Optional[int] = ...) -> None: ...

class SetResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "if_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    if_version: int
    def __init__(self, key: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: bool = ...) -> None: ...

class ExistsRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class ExistsResponse(_message.Message):
    __slots__ = ("exists",)
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    exists: bool
    def __init__(self, exists: bool = ...) -> None: ...

class ExpireRequest(_message.Message):
    __slots__ = ("key", "ttl")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    key: str
    ttl: _duration_pb2.Duration
    def __init__(self, key: _Optional[str] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExpireResponse(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: bool = ...) -> None: ...

class PersistRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class PersistResponse(_message.Message):
    __slots__ = ("existed", "had_ttl")
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    HAD_TTL_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    had_ttl: bool
    def __init__(self, existed: bool = ..., had_ttl: bool = ...) -> None: ...

class GetTtlRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class GetTtlResponse(_message.Message):
    __slots__ = ("state", "remaining")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    state: TtlState
    remaining: _duration_pb2.Duration
    def __init__(self, state: _Optional[_Union[TtlState, str]] = ..., remaining: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BatchGetRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchGetResponse(_message.Message):
    __slots__ = ("found", "values", "versions", "expire_time_ms", "errors")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    found: _containers.RepeatedScalarFieldContainer[bool]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    versions: _containers.RepeatedScalarFieldContainer[int]
    expire_time_ms: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[ItemError]
    def __init__(self, found: _Optional[_Iterable[bool]] = ..., values: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Iterable[int]] = ..., expire_time_ms: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[ItemError, _Mapping]]] = ...) -> None: ...

class BatchSetRequest(_message.Message):
    __slots__ = ("keys", "values", "ttl_ms")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    ttl_ms: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[bytes]] = ..., ttl_ms: _Optional[_Iterable[int]] = ...) -> None: ...

class BatchSetResponse(_message.Message):
    __slots__ = ("versions", "errors")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[ItemError]
    def __init__(self, versions: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[ItemError, _Mapping]]] = ...) -> None: ...

class BatchDeleteRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchDeleteResponse(_message.Message):
    __slots__ = ("existed", "errors")
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    existed: _containers.RepeatedScalarFieldContainer[bool]
    errors: _containers.RepeatedCompositeFieldContainer[ItemError]
    def __init__(self, existed: _Optional[_Iterable[bool]] = ..., errors: _Optional[_Iterable[_Union[ItemError, _Mapping]]] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token", "include_values")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VALUES_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    include_values: bool
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., include_values: bool = ...) -> None: ...

class ScanResponse(_message.Message):
    __slots__ = ("keys", "values", "versions", "expire_time_ms", "next_page_token")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    versions: _containers.RepeatedScalarFieldContainer[int]
    expire_time_ms: _containers.RepeatedScalarFieldContainer[int]
    next_page_token: str
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Iterable[int]] = ..., expire_time_ms: _Optional[_Iterable[int]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class IncrementRequest(_message.Message):
    __slots__ = ("key", "delta")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    key: str
    delta: int
    def __init__(self, key: _Optional[str] = ..., delta: _Optional[int] = ...) -> None: ...

class IncrementResponse(_message.Message):
    __slots__ = ("value", "version")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    value: int
    version: int
    def __init__(self, value: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("conditions", "writes")
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    writes: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., writes: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("key", "version", "exists")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    key: str
    version: int
    exists: bool
    def __init__(self, key: _Optional[str] = ..., version: _Optional[int] = ..., exists: bool = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("key", "value", "ttl", "delete")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    ttl: _duration_pb2.Duration
    delete: bool
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., delete: bool = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("versions", "existed")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    existed: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, versions: _Optional[_Iterable[int]] = ..., existed: _Optional[_Iterable[bool]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("prefix", "heartbeat_interval")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, prefix: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("started", "event", "heartbeat")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    started: WatchStarted
    event: WatchEvent
    heartbeat: WatchHeartbeat
    def __init__(self, started: _Optional[_Union[WatchStarted, _Mapping]] = ..., event: _Optional[_Union[WatchEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchHeartbeat, _Mapping]] = ...) -> None: ...

class WatchStarted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("type", "key", "value", "version")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    type: WatchEventType
    key: str
    value: bytes
    version: int
    def __init__(self, type: _Optional[_Union[WatchEventType, str]] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("driver", "driver_version", "version_kind", "capabilities", "limits", "ephemeral", "shared")
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_KIND_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    driver: str
    driver_version: str
    version_kind: VersionKind
    capabilities: _containers.RepeatedCompositeFieldContainer[Capability]
    limits: Limits
    ephemeral: bool
    shared: bool
    def __init__(self, driver: _Optional[str] = ..., driver_version: _Optional[str] = ..., version_kind: _Optional[_Union[VersionKind, str]] = ..., capabilities: _Optional[_Iterable[_Union[Capability, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., ephemeral: bool = ..., shared: bool = ...) -> None: ...

class Capability(_message.Message):
    __slots__ = ("name", "support", "granularity", "clock_error", "notes", "event_values", "event_delay")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_ERROR_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    EVENT_VALUES_FIELD_NUMBER: _ClassVar[int]
    EVENT_DELAY_FIELD_NUMBER: _ClassVar[int]
    name: CapabilityName
    support: Support
    granularity: _duration_pb2.Duration
    clock_error: _duration_pb2.Duration
    notes: str
    event_values: bool
    event_delay: _duration_pb2.Duration
    def __init__(self, name: _Optional[_Union[CapabilityName, str]] = ..., support: _Optional[_Union[Support, str]] = ..., granularity: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., clock_error: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., notes: _Optional[str] = ..., event_values: bool = ..., event_delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_key_bytes", "max_value_bytes", "max_batch_items", "max_batch_bytes", "max_page_size")
    MAX_KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    max_key_bytes: int
    max_value_bytes: int
    max_batch_items: int
    max_batch_bytes: int
    max_page_size: int
    def __init__(self, max_key_bytes: _Optional[int] = ..., max_value_bytes: _Optional[int] = ..., max_batch_items: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_page_size: _Optional[int] = ...) -> None: ...

class OperateRequest(_message.Message):
    __slots__ = ("operations", "cancel_ids")
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_IDS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    cancel_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., cancel_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("id", "timeout_ms", "traceparent", "tracestate", "pattern", "get", "set", "delete", "exists", "expire", "persist", "get_ttl", "batch_get", "batch_set", "batch_delete", "scan", "increment", "apply")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    PERSIST_FIELD_NUMBER: _ClassVar[int]
    GET_TTL_FIELD_NUMBER: _ClassVar[int]
    BATCH_GET_FIELD_NUMBER: _ClassVar[int]
    BATCH_SET_FIELD_NUMBER: _ClassVar[int]
    BATCH_DELETE_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    id: int
    timeout_ms: int
    traceparent: str
    tracestate: str
    pattern: str
    get: GetRequest
    set: SetRequest
    delete: DeleteRequest
    exists: ExistsRequest
    expire: ExpireRequest
    persist: PersistRequest
    get_ttl: GetTtlRequest
    batch_get: BatchGetRequest
    batch_set: BatchSetRequest
    batch_delete: BatchDeleteRequest
    scan: ScanRequest
    increment: IncrementRequest
    apply: ApplyRequest
    def __init__(self, id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., pattern: _Optional[str] = ..., get: _Optional[_Union[GetRequest, _Mapping]] = ..., set: _Optional[_Union[SetRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., exists: _Optional[_Union[ExistsRequest, _Mapping]] = ..., expire: _Optional[_Union[ExpireRequest, _Mapping]] = ..., persist: _Optional[_Union[PersistRequest, _Mapping]] = ..., get_ttl: _Optional[_Union[GetTtlRequest, _Mapping]] = ..., batch_get: _Optional[_Union[BatchGetRequest, _Mapping]] = ..., batch_set: _Optional[_Union[BatchSetRequest, _Mapping]] = ..., batch_delete: _Optional[_Union[BatchDeleteRequest, _Mapping]] = ..., scan: _Optional[_Union[ScanRequest, _Mapping]] = ..., increment: _Optional[_Union[IncrementRequest, _Mapping]] = ..., apply: _Optional[_Union[ApplyRequest, _Mapping]] = ...) -> None: ...

class OperateResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[OperationOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[OperationOutcome, _Mapping]]] = ...) -> None: ...

class OperationOutcome(_message.Message):
    __slots__ = ("id", "error", "get", "set", "delete", "exists", "expire", "persist", "get_ttl", "batch_get", "batch_set", "batch_delete", "scan", "increment", "apply")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    PERSIST_FIELD_NUMBER: _ClassVar[int]
    GET_TTL_FIELD_NUMBER: _ClassVar[int]
    BATCH_GET_FIELD_NUMBER: _ClassVar[int]
    BATCH_SET_FIELD_NUMBER: _ClassVar[int]
    BATCH_DELETE_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    id: int
    error: _status_pb2.Status
    get: GetResponse
    set: SetResponse
    delete: DeleteResponse
    exists: ExistsResponse
    expire: ExpireResponse
    persist: PersistResponse
    get_ttl: GetTtlResponse
    batch_get: BatchGetResponse
    batch_set: BatchSetResponse
    batch_delete: BatchDeleteResponse
    scan: ScanResponse
    increment: IncrementResponse
    apply: ApplyResponse
    def __init__(self, id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., get: _Optional[_Union[GetResponse, _Mapping]] = ..., set: _Optional[_Union[SetResponse, _Mapping]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping]] = ..., exists: _Optional[_Union[ExistsResponse, _Mapping]] = ..., expire: _Optional[_Union[ExpireResponse, _Mapping]] = ..., persist: _Optional[_Union[PersistResponse, _Mapping]] = ..., get_ttl: _Optional[_Union[GetTtlResponse, _Mapping]] = ..., batch_get: _Optional[_Union[BatchGetResponse, _Mapping]] = ..., batch_set: _Optional[_Union[BatchSetResponse, _Mapping]] = ..., batch_delete: _Optional[_Union[BatchDeleteResponse, _Mapping]] = ..., scan: _Optional[_Union[ScanResponse, _Mapping]] = ..., increment: _Optional[_Union[IncrementResponse, _Mapping]] = ..., apply: _Optional[_Union[ApplyResponse, _Mapping]] = ...) -> None: ...
