"""What all tests of the rules share."""

from hypothesis import settings

# A busy machine is slow now and then: time limits would make tests fail that have nothing to say about time.
settings.register_profile("baton", deadline=None)
settings.load_profile("baton")
