"""Certificate authorities that attest as Apple's and Google's do, for tests and the development server."""
