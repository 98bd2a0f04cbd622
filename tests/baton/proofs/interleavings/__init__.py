"""Every interleaving of a few presenters over the real journeys."""
