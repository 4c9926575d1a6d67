"""The page for people: what is kept of the past, sections made of it, and their template.

Only `history` is loaded with the server; the rest is by the first who looks.
"""
