"""What a search is: the values of each key, how settings are proposed, when a trial is cut short."""
