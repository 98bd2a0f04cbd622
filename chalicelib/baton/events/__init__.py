"""Recording of events: log lines, metrics and audit rows."""
