"""Files in and out: configurations, videos, artifacts."""
