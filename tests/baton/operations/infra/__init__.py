"""Tests of the templates in ``infra/``: their rules, and that each seeded fault is noticed."""
