"""Tests of the built zip, under the runtime client of AWS."""
