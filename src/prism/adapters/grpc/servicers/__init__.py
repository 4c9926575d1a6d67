"""Services: each method takes and returns messages and raises PrismError, on any transport."""
