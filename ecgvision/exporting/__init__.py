"""Trained networks as ONNX files, and as folders of the zoo."""
