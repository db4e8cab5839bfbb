"""Channels beside Slack: mail, a signed webhook, Microsoft Teams, PagerDuty. Each turns the same bulletins into what
its peer understands; none decides anything."""
