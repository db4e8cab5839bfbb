"""Where a model does worst: a bounded search over slices of the rows, and gaps between groups."""
