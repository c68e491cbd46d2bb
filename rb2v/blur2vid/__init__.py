"""Seven sharp frames from one blurry image."""
