from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prism.v1 import keyvalue_pb2 as _keyvalue_pb2
from prism.v1 import lifecycle_pb2 as _lifecycle_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DebugLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEBUG_LEVEL_UNSPECIFIED: _ClassVar[DebugLevel]
    DEBUG_LEVEL_DEBUG: _ClassVar[DebugLevel]
    DEBUG_LEVEL_INFO: _ClassVar[DebugLevel]
    DEBUG_LEVEL_WARNING: _ClassVar[DebugLevel]
    DEBUG_LEVEL_ERROR: _ClassVar[DebugLevel]

class DebugKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEBUG_KIND_UNSPECIFIED: _ClassVar[DebugKind]
    DEBUG_KIND_STATE: _ClassVar[DebugKind]
    DEBUG_KIND_BACKEND: _ClassVar[DebugKind]
    DEBUG_KIND_LOG: _ClassVar[DebugKind]
DEBUG_LEVEL_UNSPECIFIED: DebugLevel
DEBUG_LEVEL_DEBUG: DebugLevel
DEBUG_LEVEL_INFO: DebugLevel
DEBUG_LEVEL_WARNING: DebugLevel
DEBUG_LEVEL_ERROR: DebugLevel
DEBUG_KIND_UNSPECIFIED: DebugKind
DEBUG_KIND_STATE: DebugKind
DEBUG_KIND_BACKEND: DebugKind
DEBUG_KIND_LOG: DebugKind

class ConnectRequest(_message.Message):
    __slots__ = ("registration", "heartbeat", "debug_event")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DEBUG_EVENT_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    heartbeat: Heartbeat
    debug_event: DebugEvent
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., debug_event: _Optional[_Union[DebugEvent, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("accepted", "heartbeat")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    heartbeat: Heartbeat
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("protocol_version", "driver", "driver_version", "prism_version", "process_id", "capabilities", "data_address", "metrics_address", "state")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRISM_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    DATA_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    driver: str
    driver_version: str
    prism_version: str
    process_id: int
    capabilities: _containers.RepeatedCompositeFieldContainer[_keyvalue_pb2.Capability]
    data_address: str
    metrics_address: str
    state: _lifecycle_pb2.LifecycleState
    def __init__(self, protocol_version: _Optional[int] = ..., driver: _Optional[str] = ..., driver_version: _Optional[str] = ..., prism_version: _Optional[str] = ..., process_id: _Optional[int] = ..., capabilities: _Optional[_Iterable[_Union[_keyvalue_pb2.Capability, _Mapping]]] = ..., data_address: _Optional[str] = ..., metrics_address: _Optional[str] = ..., state: _Optional[_Union[_lifecycle_pb2.LifecycleState, str]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("session", "heartbeat_interval")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    session: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, session: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DebugEvent(_message.Message):
    __slots__ = ("sequence", "time", "level", "kind", "message", "details", "dropped")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    level: DebugLevel
    kind: DebugKind
    message: str
    details: _containers.ScalarMap[str, str]
    dropped: int
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., level: _Optional[_Union[DebugLevel, str]] = ..., kind: _Optional[_Union[DebugKind, str]] = ..., message: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., dropped: _Optional[int] = ...) -> None: ...
