"""Generated blocks in Markdown files, between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations


def replace_block(text: str, name: str, content: str) -> str:
    """Return the text with the content of the named block replaced.

    Raises:
        ValueError: the text has no such block.
    """
    begin_mark, end_mark = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, begin, rest = text.partition(begin_mark)
    _, end, tail = rest.partition(end_mark)
    if not (begin and end):
        raise ValueError(f"no block to replace: expected {begin_mark} followed by {end_mark}")
    return f"{head}{begin}\n{content}\n{end}{tail}"
