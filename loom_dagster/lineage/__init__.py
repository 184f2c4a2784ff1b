"""Where an output came from, and what its pipeline hangs together with, as documents for people and tools."""
