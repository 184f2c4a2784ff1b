"""The transform stage: a record, a prompt and a model become an output that fits the schema."""

from loom_dagster.transform.cache_identity import check_key_fields, key_columns, record_identity
from loom_dagster.transform.extractive import extractive_summary
from loom_dagster.transform.output_schema import OUTPUT_COLUMN, OutputSchema
from loom_dagster.transform.transformer import Renders, Transformed, Transformer

__all__ = [
    "OUTPUT_COLUMN",
    "OutputSchema",
    "Renders",
    "Transformed",
    "Transformer",
    "check_key_fields",
    "extractive_summary",
    "key_columns",
    "record_identity",
]
