"""What stands where a connection would be, before and after there is one."""

from __future__ import annotations

from typing import Never

from prism.ports import NotServing


class Closed:
    """In the place of a connection that is not open: no operation has to ask."""

    def __getattr__(self, name: str) -> Never:
        raise NotServing("the bucket is not open: it is not initialized yet, or was stopped")
