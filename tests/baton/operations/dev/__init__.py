"""Tests of the development server: the development API, and the faults."""
