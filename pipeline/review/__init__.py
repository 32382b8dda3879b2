"""The work of reviewers: who holds which task, what they answered, and what becomes of it."""
