"""From a clip to what the detectors say of it: faces, scores with evidence, an embedding."""
