"""Fields of replies that the client of Prism does not read, and clients of others do."""

from __future__ import annotations

from typing import Any

from prism.ports import Put
from prism.v1 import keyvalue_pb2 as pb

DELETE = "KeyValueService/Delete"


async def test_conditional_delete_answers_that_the_key_existed(serve: Any) -> None:
    served = await serve()
    version = await served.driver.set("key", b"value")
    request = pb.DeleteRequest(key="key", if_version=version)
    assert pb.DeleteResponse.FromString(await served.call(DELETE, request)).existed


async def test_delete_answers_whether_the_key_existed(serve: Any) -> None:
    served = await serve()
    await served.driver.set_many([Put("key", b"value")])
    request = pb.DeleteRequest(key="key")
    assert pb.DeleteResponse.FromString(await served.call(DELETE, request)).existed
    assert not pb.DeleteResponse.FromString(await served.call(DELETE, request)).existed
