"""The profile stage: batches of events folded into panes, labels joined."""
