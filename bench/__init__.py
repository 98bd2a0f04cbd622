"""Benchmarks: ratios within one run, CPU time, never a test."""
