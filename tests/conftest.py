"""The fixtures of your tests: ``world`` is your app, with phones, a clock and faults. See docs/baton/testing.md."""

pytest_plugins = ["chalicelib.baton.testing.plugin"]
