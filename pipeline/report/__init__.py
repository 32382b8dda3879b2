"""A page on one upload for people outside: the verdict in plain words, what it rests on, and what was not looked at."""
