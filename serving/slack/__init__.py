"""Slack: the question with its chart and buttons, what people click, and its outcome. `slack_sdk` is imported by `api`
and `socket` only."""
