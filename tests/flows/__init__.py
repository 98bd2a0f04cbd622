"""The journeys, over the memory stores."""
