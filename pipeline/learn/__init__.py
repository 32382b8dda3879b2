"""Training of the face heads: faces → blends → features → linear heads → `models/face_forgery/<head>.json`.

A platform trains the same heads on data of its own with the same functions; nothing here is needed to run Unmask.
"""
