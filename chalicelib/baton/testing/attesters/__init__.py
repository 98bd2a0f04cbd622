"""Certificate authorities for tests and the development server. They replace the authorities of Apple and Google."""
