"""What a run will cost, and what runs have cost, as pure functions of prices and counts."""
