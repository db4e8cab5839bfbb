"""Events as Parquet files, each row exactly once."""
