"""Mattes and composites of green-screen takes."""
