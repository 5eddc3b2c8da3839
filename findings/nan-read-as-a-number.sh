#!/usr/bin/env bash
# DataFusion reads a NaN as the number beside it, in a plain `select`, and writes it into a copy.
#
# Run: pyarrow 26.0.1 and Polars 2.1.0 write 5.0, NaN, 5.0 with their defaults; DataFusion 55.0.0
#   reads the files, sums them, and copies one with `COPY`; DuckDB 2.0.1 reads the same.
# Guess: without a filter the footer's statistics decide nothing about values. The format has writers
#   leave NaN out of the least and the greatest value, so equal bounds do not mean equal values.
# Instead: where both bounds are the same and nothing is null, DataFusion takes the column for a
#   constant and never reads its pages: three times 5.0, a sum of 15.0, and the copy has 5.0 in it
#   for good. That it prunes by such bounds is known; this changes values without a condition.
# Means: a gauge that stood still and once failed to measure is healed by the reader. Who checks an
#   archive by a digest over rows gets another one from DataFusion than from every other reader, and
#   an archive that was compacted through it has lost its NaN. DuckDB writes no bounds beside a NaN.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

python_packages pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 datafusion==55.0.0

"$python" - "$work" <<'PY'
import math
import sys

import datafusion
import duckdb
import polars
import pyarrow
import pyarrow.parquet

folder = sys.argv[1]
values = [5.0, math.nan, 5.0]
pyarrow.parquet.write_table(pyarrow.table({"x": values}), f"{folder}/pyarrow.parquet")
polars.DataFrame({"x": values}).write_parquet(f"{folder}/polars.parquet")
context = datafusion.SessionContext()
print("expected: [5.0, nan, 5.0] and a sum of nan, whoever wrote it and whoever reads it")
for writer in ("pyarrow", "polars"):
    file = f"{folder}/{writer}.parquet"
    for seen in (
        pyarrow.parquet.read_table(file)["x"].to_pylist(),
        polars.scan_parquet(file).collect()["x"].to_list(),
        [row[0] for row in duckdb.sql(f"select x from '{file}'").fetchall()],
    ):
        assert str(seen) == str(values), seen
    context.register_parquet(writer, file)
    read = context.sql(f"select x from {writer}").to_pydict()["x"]
    total = context.sql(f"select sum(x) as total from {writer}").to_pydict()["total"][0]
    print(f"observed: written by {writer}, read by DataFusion:", read, "sum", total)
    assert (read, total) == ([5.0, 5.0, 5.0], 15.0), "DataFusion reads it otherwise now"

context.sql(f"copy (select x from pyarrow) to '{folder}/copy.parquet'").collect()
copied = pyarrow.parquet.read_table(f"{folder}/copy.parquet")["x"].to_pylist()
print("observed: copied by DataFusion, read by pyarrow:", copied)
assert copied == [5.0, 5.0, 5.0], "the copy is otherwise now"
PY
