"""Tests of the commands, the templates, the deployment package and the benchmarks."""
