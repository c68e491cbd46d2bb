"""The stages of the pipeline: each reads one folder, writes the next, and can be stopped and run again."""
