"""Certificate authorities for tests and the development server, in place of those of Apple and Google."""
