"""Domain: the rules that hold for every backend and every transport."""
