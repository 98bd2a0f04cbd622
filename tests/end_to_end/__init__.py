"""Baton whole: the reference client, stock clients and attackers, through the gateway."""
