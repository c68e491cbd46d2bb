"""The numerics of the pipeline: arrays in, arrays out, no files."""
