"""The fleet simulation: phones, bad connections and thieves."""
