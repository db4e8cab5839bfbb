"""What a manager reads: roll-ups, charts, PDF, mail, schedule."""
