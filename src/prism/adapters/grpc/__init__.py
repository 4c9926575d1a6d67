"""The public API over gRPC: servicers, and the transports that carry them.

Importing this package loads no grpc; only `transports` does.
"""
