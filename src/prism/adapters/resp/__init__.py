"""The Redis protocol (RESP2 and RESP3) in front of the gateway: a door for any Redis client.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""
