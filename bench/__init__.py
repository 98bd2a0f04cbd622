"""Benchmarks. They report CPU time and ratios within one run. They are not tests."""
