"""The first stage: files become batches of records, each with an identity."""

from loom_dagster.extract.source import Source, check_source, open_source

__all__ = ["Source", "check_source", "open_source"]
