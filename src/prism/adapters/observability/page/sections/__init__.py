"""The sections of the page: a function each, from what is known to plain values."""
