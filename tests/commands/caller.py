"""Sends its arguments and standard streams to the server of commands; ends with their status.

Imports only modules that are built in or small: it runs once for each command.
"""

import marshal
import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

_path, *_arguments = sys.argv[1:]
_request = marshal.dumps((_arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109
_streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
_connection = socket(AF_UNIX, SOCK_STREAM)
_connection.connect(_path)
_connection.sendmsg([len(_request).to_bytes(8, "big")], [(SOL_SOCKET, SCM_RIGHTS, _streams)])
_connection.sendall(_request)
_status = _connection.recv(1)
if not _status:
    os.write(2, b"the command ended without a status\n")
    os._exit(250)
os._exit(_status[0])
