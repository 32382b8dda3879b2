"""Chaos: the whole pipeline on real parts while they are killed at random, and the count of what came out."""
