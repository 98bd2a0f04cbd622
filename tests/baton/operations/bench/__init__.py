"""The benchmarks' own arithmetic: what is printed is what was measured. The benchmarks themselves are no tests."""
