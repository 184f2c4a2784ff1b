"""What runs came to, over time, for terminals, pages and those who scrape."""
