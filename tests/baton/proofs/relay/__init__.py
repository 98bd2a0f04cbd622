"""The relay, simulated: fleets of phones, trains and tunnels, and thieves."""
