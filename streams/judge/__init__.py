"""The judge stage: windows of panes, measured and decided."""
