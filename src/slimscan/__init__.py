"""slimscan makes a medical image as small as the task it serves allows, and proves it."""

__version__ = "0.1.0.dev0"
