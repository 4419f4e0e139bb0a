"""The report: a comparison as one HTML file that opens without a network."""
