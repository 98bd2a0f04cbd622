"""Tests of the development and operator tools, which are not in the zip."""
