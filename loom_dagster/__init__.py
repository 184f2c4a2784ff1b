"""The dbt for AI(E)TL on Dagster: YAML pipelines whose outputs are judged before they are loaded."""
