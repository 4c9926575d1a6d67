from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prism.v1 import lifecycle_pb2 as _lifecycle_pb2
from prism.v1 import pattern_pb2 as _pattern_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PatternState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATTERN_STATE_UNSPECIFIED: _ClassVar[PatternState]
    PATTERN_STATE_LAUNCHING: _ClassVar[PatternState]
    PATTERN_STATE_STARTING: _ClassVar[PatternState]
    PATTERN_STATE_SERVING: _ClassVar[PatternState]
    PATTERN_STATE_DRAINING: _ClassVar[PatternState]
    PATTERN_STATE_STOPPING: _ClassVar[PatternState]
    PATTERN_STATE_STOPPED: _ClassVar[PatternState]
    PATTERN_STATE_BACKING_OFF: _ClassVar[PatternState]
    PATTERN_STATE_CRASH_LOOP: _ClassVar[PatternState]
    PATTERN_STATE_FAILED: _ClassVar[PatternState]

class PatternEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATTERN_EVENT_KIND_UNSPECIFIED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_LAUNCHED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_REGISTERED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_REFUSED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_INITIALIZED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_STARTED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_SERVING: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_LOST: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_RETURNED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_HEALTH: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_DRAINED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_STOPPED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_EXITED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_FAILED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_BACKING_OFF: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_CRASH_LOOP: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_REPLACED: _ClassVar[PatternEventKind]
    PATTERN_EVENT_KIND_KEPT: _ClassVar[PatternEventKind]
PATTERN_STATE_UNSPECIFIED: PatternState
PATTERN_STATE_LAUNCHING: PatternState
PATTERN_STATE_STARTING: PatternState
PATTERN_STATE_SERVING: PatternState
PATTERN_STATE_DRAINING: PatternState
PATTERN_STATE_STOPPING: PatternState
PATTERN_STATE_STOPPED: PatternState
PATTERN_STATE_BACKING_OFF: PatternState
PATTERN_STATE_CRASH_LOOP: PatternState
PATTERN_STATE_FAILED: PatternState
PATTERN_EVENT_KIND_UNSPECIFIED: PatternEventKind
PATTERN_EVENT_KIND_LAUNCHED: PatternEventKind
PATTERN_EVENT_KIND_REGISTERED: PatternEventKind
PATTERN_EVENT_KIND_REFUSED: PatternEventKind
PATTERN_EVENT_KIND_INITIALIZED: PatternEventKind
PATTERN_EVENT_KIND_STARTED: PatternEventKind
PATTERN_EVENT_KIND_SERVING: PatternEventKind
PATTERN_EVENT_KIND_LOST: PatternEventKind
PATTERN_EVENT_KIND_RETURNED: PatternEventKind
PATTERN_EVENT_KIND_HEALTH: PatternEventKind
PATTERN_EVENT_KIND_DRAINED: PatternEventKind
PATTERN_EVENT_KIND_STOPPED: PatternEventKind
PATTERN_EVENT_KIND_EXITED: PatternEventKind
PATTERN_EVENT_KIND_FAILED: PatternEventKind
PATTERN_EVENT_KIND_BACKING_OFF: PatternEventKind
PATTERN_EVENT_KIND_CRASH_LOOP: PatternEventKind
PATTERN_EVENT_KIND_REPLACED: PatternEventKind
PATTERN_EVENT_KIND_KEPT: PatternEventKind

class Pattern(_message.Message):
    __slots__ = ("name", "driver", "driver_version", "state", "reason", "process_id", "serving_since", "restarts", "data_address", "metrics_address", "health", "is_default", "in_flight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    SERVING_SINCE_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    DATA_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    driver: str
    driver_version: str
    state: PatternState
    reason: str
    process_id: int
    serving_since: _timestamp_pb2.Timestamp
    restarts: int
    data_address: str
    metrics_address: str
    health: _lifecycle_pb2.HealthCheckResponse
    is_default: bool
    in_flight: int
    def __init__(self, name: _Optional[str] = ..., driver: _Optional[str] = ..., driver_version: _Optional[str] = ..., state: _Optional[_Union[PatternState, str]] = ..., reason: _Optional[str] = ..., process_id: _Optional[int] = ..., serving_since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., restarts: _Optional[int] = ..., data_address: _Optional[str] = ..., metrics_address: _Optional[str] = ..., health: _Optional[_Union[_lifecycle_pb2.HealthCheckResponse, _Mapping]] = ..., is_default: bool = ..., in_flight: _Optional[int] = ...) -> None: ...

class PatternEvent(_message.Message):
    __slots__ = ("sequence", "time", "pattern", "kind", "message", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    pattern: str
    kind: PatternEventKind
    message: str
    details: _containers.ScalarMap[str, str]
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., pattern: _Optional[str] = ..., kind: _Optional[_Union[PatternEventKind, str]] = ..., message: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListPatternsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPatternsResponse(_message.Message):
    __slots__ = ("patterns",)
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    patterns: _containers.RepeatedCompositeFieldContainer[Pattern]
    def __init__(self, patterns: _Optional[_Iterable[_Union[Pattern, _Mapping]]] = ...) -> None: ...

class GetPatternRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPatternResponse(_message.Message):
    __slots__ = ("pattern", "events", "debug_events")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    DEBUG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    pattern: Pattern
    events: _containers.RepeatedCompositeFieldContainer[PatternEvent]
    debug_events: _containers.RepeatedCompositeFieldContainer[_pattern_pb2.DebugEvent]
    def __init__(self, pattern: _Optional[_Union[Pattern, _Mapping]] = ..., events: _Optional[_Iterable[_Union[PatternEvent, _Mapping]]] = ..., debug_events: _Optional[_Iterable[_Union[_pattern_pb2.DebugEvent, _Mapping]]] = ...) -> None: ...

class RestartPatternRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RestartPatternResponse(_message.Message):
    __slots__ = ("pattern",)
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    pattern: Pattern
    def __init__(self, pattern: _Optional[_Union[Pattern, _Mapping]] = ...) -> None: ...

class DrainPatternRequest(_message.Message):
    __slots__ = ("name", "timeout")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    timeout: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainPatternResponse(_message.Message):
    __slots__ = ("completed", "aborted")
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    completed: int
    aborted: int
    def __init__(self, completed: _Optional[int] = ..., aborted: _Optional[int] = ...) -> None: ...

class ReplacePatternRequest(_message.Message):
    __slots__ = ("name", "driver", "settings", "discard_data")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    DISCARD_DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    driver: str
    settings: _containers.ScalarMap[str, str]
    discard_data: bool
    def __init__(self, name: _Optional[str] = ..., driver: _Optional[str] = ..., settings: _Optional[_Mapping[str, str]] = ..., discard_data: bool = ...) -> None: ...

class ReplacePatternResponse(_message.Message):
    __slots__ = ("pattern",)
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    pattern: Pattern
    def __init__(self, pattern: _Optional[_Union[Pattern, _Mapping]] = ...) -> None: ...

class WatchPatternsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WatchPatternsResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: PatternEvent
    def __init__(self, event: _Optional[_Union[PatternEvent, _Mapping]] = ...) -> None: ...
