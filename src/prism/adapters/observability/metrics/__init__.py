"""The metrics at `/metrics`. Importing this package loads no library; its modules do.

Everything is counted elsewhere in plain integers, and becomes metrics at each scrape.
No label value comes from a caller, so the set of series is fixed.
"""
