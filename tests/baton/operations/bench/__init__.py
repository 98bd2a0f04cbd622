"""Tests of the computations of the benchmarks: the printed values follow from the measured values."""
