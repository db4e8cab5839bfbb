"""From alert to proven recovery: incidents, diagnosis, plans, approvals, execution, verification, retraining."""
