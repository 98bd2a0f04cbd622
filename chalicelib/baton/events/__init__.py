"""What happens, recorded: log lines, metrics and audit rows."""
