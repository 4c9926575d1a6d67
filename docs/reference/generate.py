"""Reference pages that MkDocs generates from the code: settings and gRPC.

https://www.mkdocs.org/user-guide/configuration/#hooks
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import groupby
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from prism.bootstrap import discovery
from prism.bootstrap.options import Option, driver_options, server_options
from prism.bootstrap.proxy.settings import ProxySettings

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site; MkDocs calls this hook by its name."""
    for name, lines in (("settings", settings_page()), ("grpc", grpc_page())):
        page = File.generated(config, f"reference/{name}.md", content="\n".join(lines) + "\n")
        files.append(page)
    return files


def settings_page() -> Iterator[str]:
    """Yield the page of all settings: server, proxy, drivers."""
    yield "# Settings"
    yield ""
    yield "A setting is taken from its flag, else from its environment variable, else from the"
    yield "config file, else from its default. `prism config show` shows the effective settings and"
    yield "their sources. Each secret can also be read from a file, which a second setting names."
    yield ""
    yield "`--config` or `PRISM_CONFIG` names the config file of `prism serve` and `prism proxy`;"
    yield "by default it is `config.yaml` in the current folder, if that exists."
    yield ""
    yield "## The server"
    yield ""
    for heading, group in groupby(server_options(), lambda option: option.group):
        if heading:
            yield ""
            yield f"### {heading}"
            yield ""
        yield from _settings(group)
    yield ""
    yield "## The proxy"
    yield ""
    yield "`prism proxy` takes the settings of a server, except `--driver` and those of a pattern,"
    yield "and these. A pattern has the settings of its driver, under the name of the pattern:"
    yield "[Proxy and patterns](../proxy.md#configuration)."
    yield ""
    served = {option.key for option in server_options()}
    yield from _settings(
        [option for option in server_options(ProxySettings) if option.key not in served]
    )
    yield "| `--pattern` | `PRISM_PATTERNS` | `patterns` | A pattern, NAME=DRIVER; repeatable. | |"
    for name in sorted(discovery.names()):
        spec = discovery.load(name)
        yield ""
        yield f"## The driver {name}"
        yield ""
        yield f"{spec.summary} In a config file, these settings are under `drivers.{name}`."
        yield ""
        yield from _settings(driver_options(spec))


def _settings(options: Iterable[Option]) -> Iterator[str]:
    yield "| flag | environment | key | meaning | default |"
    yield "|---|---|---|---|---|"
    for option in options:
        default = option.field.default
        shown = "" if default is None or option.holds_path else f"`{default}`"
        text = option.help.partition(" (default: ")[0].replace("|", "\\|")
        yield f"| `{option.flag}` | `{option.variable}` | `{option.key}` | {text} | {shown} |"


def grpc_page() -> Iterator[str]:
    """Yield the page of every service, message and enum, with the comments of the proto."""
    yield "# gRPC"
    yield ""
    yield "The package `prism.v1`. Generic clients read the same by reflection."
    for file in _described():
        comments = _comments(file)
        yield ""
        yield f"## {file.name.removeprefix('prism/v1/')}"
        for index, service in enumerate(file.service):
            yield from _service(service, comments, (6, index))
        for index, message in enumerate(file.message_type):
            yield from _message(message, comments, (4, index))
        for index, enum in enumerate(file.enum_type):
            yield from _enum(enum, comments, (5, index))


Comments = dict[tuple[int, ...], str]


def _described() -> Iterable[FileDescriptorProto]:
    paths = sorted(PROTO.glob("prism/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        status = protoc.main(
            [
                "protoc",
                f"-I{PROTO}",
                f"-I{ROOT / 'build' / 'googleapis'}",
                f"-I{resources.files('grpc_tools') / '_proto'}",
                "--include_source_info",
                f"--descriptor_set_out={image}",
                *map(str, paths),
            ]
        )
        if status:
            raise SystemExit("the protos do not compile: run `make proto-check`")
        return FileDescriptorSet.FromString(image.read_bytes()).file


def _comments(file: FileDescriptorProto) -> Comments:
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _service(
    service: ServiceDescriptorProto, comments: Comments, path: tuple[int, ...]
) -> Iterator[str]:
    yield from _heading(service.name, comments.get(path, ""))
    yield "| method | request | response | |"
    yield "|---|---|---|---|"
    for index, method in enumerate(service.method):
        request = _arrow(method.input_type, streams=method.client_streaming)
        response = _arrow(method.output_type, streams=method.server_streaming)
        comment = comments.get((*path, 2, index), "")
        yield f"| `{method.name}` | {request} | {response} | {comment} |"


def _message(message: DescriptorProto, comments: Comments, path: tuple[int, ...]) -> Iterator[str]:
    yield from _heading(message.name, comments.get(path, ""))
    if not message.field:
        yield "Has no fields."
        return
    yield "| field | type | |"
    yield "|---|---|---|"
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for index, field in enumerate(message.field):
        comment = comments.get((*path, 2, index), "")
        yield f"| `{field.name}` = {field.number} | {_type_of(field, maps)} | {comment} |"


def _enum(enum: EnumDescriptorProto, comments: Comments, path: tuple[int, ...]) -> Iterator[str]:
    yield from _heading(enum.name, comments.get(path, ""))
    yield "| value | |"
    yield "|---|---|"
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {comments.get((*path, 2, index), '')} |"


def _heading(name: str, comment: str) -> Iterator[str]:
    yield ""
    yield f"### {name}"
    yield ""
    if comment:
        yield comment
        yield ""


def _arrow(name: str, *, streams: bool) -> str:
    return f"{'stream of ' if streams else ''}`{_short(name)}`"


def _short(name: str) -> str:
    return name.removeprefix(".prism.v1.").removeprefix(".")


def _type_of(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map of {_type_of(key, {})} to {_type_of(value, {})}"
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = f"`{_short(field.type_name) or kind}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name
