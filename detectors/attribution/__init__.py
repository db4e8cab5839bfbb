"""What carries a change: features, segments, versions; and how much of a loss the shift of the data explains."""
