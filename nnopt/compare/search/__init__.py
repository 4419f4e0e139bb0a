"""What a search found, read off its trials: bests, edges, sensitivity, importance, the price of tuning."""
