"""Tests in a real browser. `make browser` installs its driver and runs them."""
