"""The page for people: its document, its sections, and the history that they show.

A server loads only `history` when it starts; the rest is loaded when the page is first opened.
"""
