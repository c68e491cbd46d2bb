"""The true images and the true motion of simulated sessions."""
