"""Tables that a command writes into a page."""

from __future__ import annotations


def replace_block(text: str, name: str, table: str) -> str:
    """The text with the table between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the marks are not there, or not in this order.
    """
    begin_mark, end_mark = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, begin, rest = text.partition(begin_mark)
    _, end, tail = rest.partition(end_mark)
    if not (begin and end):
        raise ValueError(f"nowhere to put the table: the marks are {begin_mark} and {end_mark}")
    return f"{head}{begin}\n{table}\n{end}{tail}"
