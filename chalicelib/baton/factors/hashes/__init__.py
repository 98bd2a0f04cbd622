"""Password hashes of other systems: one file for each kind. An imported hash is replaced at the first login."""
