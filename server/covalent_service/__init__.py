"""The parts of the launcher: one noun, one module."""
