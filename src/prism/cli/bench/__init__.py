"""`prism bench`: puts load on a running server and reports rates, latencies and errors."""
