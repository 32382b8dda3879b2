"""Media to frames and sound, in sandboxed child processes."""
