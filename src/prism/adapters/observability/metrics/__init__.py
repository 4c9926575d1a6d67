"""What `/metrics` tells. Importing this package loads no library; its modules do.

Everything is counted elsewhere in plain integers, and becomes metrics when it is
asked for. No label comes from a caller, so a series is there from the start.
"""
