"""The records of a run settled on a Ray cluster. The only room that imports Ray, inside functions."""
