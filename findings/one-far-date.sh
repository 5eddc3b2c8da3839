#!/usr/bin/env bash
# One date of 9999-12-31 becomes 1816 in fastparquet, and hides the dates beside it from filters.
#
# Run: pyarrow 26.0.1 writes dates, fastparquet 2026.9.0 with pandas 3.1.1 reads them.
# Guess: a DATE is a number of days in 32 bits, 9999-12-31 is the usual "no end", and pandas 3 has
#   units in which it fits, which fastparquet uses for timestamps. What fits no unit is an error.
# Instead: fastparquet multiplies days to nanoseconds in 64 bits, which wrap: the year is 1816, with
#   no error or warning. The footer's greatest value wraps in the same way, so a filter passes over
#   the whole row group: asked for what ends on a day in 2026, it has nothing.
# Means: a table of contracts with one open end loses rows by filters, and has ends before beginnings.
#   The timestamp types keep such values; an archive that fastparquet users read should use them.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

python_packages pyarrow==26.0.1 fastparquet==2026.9.0 pandas==3.1.1

"$python" - "$work" <<'PY'
import datetime
import sys

import fastparquet
import pandas
import pyarrow
import pyarrow.parquet

folder = sys.argv[1]
ends = [datetime.date(2026, 3, 1), datetime.date(2026, 9, 1), datetime.date(9999, 12, 31)]
pyarrow.parquet.write_table(pyarrow.table({"end": pyarrow.array(ends, pyarrow.date32())}), f"{folder}/days.parquet")
pyarrow.parquet.write_table(
    pyarrow.table({"end": pyarrow.array(ends).cast(pyarrow.timestamp("us"))}), f"{folder}/moments.parquet"
)
print("expected: the years 2026, 2026, 9999, or an error; one row that ends on 2026-09-01")
found = {}
for kind in ("days", "moments"):
    file = fastparquet.ParquetFile(f"{folder}/{kind}.parquet")
    years = file.to_pandas()["end"].dt.year.tolist()
    day = file.to_pandas(filters=[("end", "==", pandas.Timestamp(2026, 9, 1))], row_filter=True)
    found[kind] = (years, len(day))
    print(f"observed: as {kind}: years", years, "rows that end on 2026-09-01:", len(day))
assert found["moments"] == ([2026, 2026, 9999], 1), found
assert found["days"] == ([2026, 2026, 1816], 0), "dates are read otherwise now"
PY
