"""model-packager: turns a trained model into a verified, immutable ONNX bundle and moves bundles between stores."""

__version__ = "0.1.0"
