"""The public API over gRPC: servicers that know no transport, and what carries them.

Importing this package loads no grpc; only `transports` does.
"""
