"""Keys, the ring, tickets."""
