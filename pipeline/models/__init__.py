"""The model repository: where weights come from, how they become graphs, and how they are put in place.

sources.py (fetch, pinned) → graphs.py (pure: weights → ONNX) → build.py (models/<name>/1/model.onnx)
"""
