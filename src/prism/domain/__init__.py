"""What is true for every backend, whatever carries the request or keeps the data."""
