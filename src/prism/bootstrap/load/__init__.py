"""Load on anything that answers calls: for `prism bench`, and for `make bench`."""
