"""Workers that are actors of Ray, on one machine or many."""
