"""Certificate authorities for tests and the development server. They attest as those of Apple and Google do."""
