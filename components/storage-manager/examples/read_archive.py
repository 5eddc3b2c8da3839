"""Prints a stream's messages from a copy of the NAS's bucket: python3 read_archive.py FOLDER STREAM

DuckDB reads the archive as it lies there: `pip install duckdb`. With `s3://archive` for FOLDER it reads the bucket itself,
once it was told address and key (CREATE SECRET). Deleted messages are in the files until they are collected;
docs/archive.md has the reader that goes by the entries.
"""

import sys

import duckdb

folder, stream = sys.argv[1:]
query = """
    SELECT DISTINCT ON (timeline, seq) seq, subject, decode(payload)
    FROM read_parquet(?)
    WHERE stream = ?
    ORDER BY timeline, seq
"""
for row in duckdb.execute(query, [f"{folder}/v2/journal/*/**/*.parquet", stream]).fetchall():
    print(*row)
