"""Who may do what: identities, and one policy that every door asks."""
