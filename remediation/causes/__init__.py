"""One module per family of causes: facts in, a hypothesis out, which `remediation.diagnosis` ranks."""
