"""One machine and many: runs side by side."""
