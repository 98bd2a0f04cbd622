"""The only shelf that knows AWS: four tables, every condition written out, and judged by the rule."""
