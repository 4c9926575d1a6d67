"""Driver whose backend is another Prism server: the client, as an implementation of the ports."""

from prism.adapters.remote.driver import DRIVER, Remote, RemoteSettings, open_pattern

__all__ = ["DRIVER", "Remote", "RemoteSettings", "open_pattern"]
