"""Messages, statuses and encodings of `proto/prism/v1` that server and client share."""
