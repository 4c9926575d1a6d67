"""Transports: each listens, and passes the bytes of calls to the servicers and back."""
