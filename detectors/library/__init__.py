"""The measures that ship, each a distance of two profiles on one layout, and how others are added."""
