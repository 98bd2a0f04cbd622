"""Commands, templates, the zip, the benchmarks."""
