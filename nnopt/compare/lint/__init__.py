"""What makes a comparison unfair, and what to do about it."""
