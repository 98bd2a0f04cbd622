"""Tests in a real browser. `make browser` installs its driver and runs them. T1 to T38: docs/baton/attacks.md."""
