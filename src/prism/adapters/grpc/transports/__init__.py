"""What carries the servicers: each listens, and turns a call into bytes and back."""
