"""The public wire API, generated from `proto/prism/v1`."""
