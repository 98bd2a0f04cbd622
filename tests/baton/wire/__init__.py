"""The edge, through the gateway."""
