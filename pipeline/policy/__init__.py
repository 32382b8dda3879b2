"""What is done about what was found: a file that people write → typed rules → a decision with its trace."""
