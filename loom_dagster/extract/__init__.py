"""The first stage: files become batches of records, each with an identity."""

from loom_dagster.extract.redaction import Redactor, discreetly, redacted_table
from loom_dagster.extract.source import Source, check_source, open_source

__all__ = ["Redactor", "Source", "check_source", "discreetly", "open_source", "redacted_table"]
