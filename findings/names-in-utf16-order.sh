#!/usr/bin/env bash
# DuckDB and DataFusion do not find a name that is in the file: its writer compared as JavaScript does.
#
# Run: @dsnp/parquetjs 1.8.8 writes three names with its defaults; DuckDB 2.0.1, DataFusion 55.0.0,
#   pyarrow 26.0.1 and Polars 2.1.0 read them.
# Guess: statistics of a UTF8 column follow the bytes of UTF-8, as the format says, so that a search
#   by equality finds what a reader lists.
# Instead: parquetjs compares strings with `<`, which goes by UTF-16 code units. Characters beyond
#   U+FFFF are written as D800 to DFFF there and come before U+E000 to U+FFFF (half-width katakana,
#   full-width letters, compatibility ideographs); in UTF-8 they come after. The footer's greatest
#   value is then too small: DuckDB and DataFusion pass over the row group, without a word. pyarrow
#   and Polars do not use these statistics and find the row.
# Means: an archive that a Node service wrote answers differently by reader, for Japanese names and
#   addresses above all; every test in Latin letters passes. Keys that are compared belong in ASCII.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

node_packages @dsnp/parquetjs@1.8.8
python_packages pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 datafusion==55.0.0

cat >"$work/node/write.mjs" <<'JS'
import parquet from "@dsnp/parquetjs";

const schema = new parquet.ParquetSchema({ name: { type: "UTF8" } });
const writer = await parquet.ParquetWriter.openFile(schema, process.argv[2]);
// Latin, half-width katakana (U+FF80 U+FF85 U+FF76), and a surname beyond U+FFFF (U+20BB7 U+7530).
for (const name of ["Abe", "\uFF80\uFF85\uFF76", "\u{20BB7}\u7530"]) await writer.appendRow({ name });
await writer.close();
JS
node "$work/node/write.mjs" "$work/names.parquet"

"$python" - "$work/names.parquet" <<'PY'
import sys

import datafusion
import duckdb
import polars
import pyarrow.dataset

file = sys.argv[1]
name = "\U00020BB7\u7530"
names = ["Abe", "\uff80\uff85\uff76", name]
context = datafusion.SessionContext()
context.register_parquet("people", file)
assert polars.read_parquet(file)["name"].to_list() == names
assert [row[0] for row in duckdb.sql(f"select name from '{file}'").fetchall()] == names
assert context.sql("select name from people").to_pydict()["name"] == names
where = f"where name = '{name}'"
found = {
    "DuckDB": duckdb.sql(f"select count(*) from '{file}' {where}").fetchall()[0][0],
    "DataFusion": context.sql(f"select count(*) as n from people {where}").to_pydict()["n"][0],
    "pyarrow": pyarrow.dataset.dataset(file).to_table(filter=pyarrow.dataset.field("name") == name).num_rows,
    "Polars": polars.scan_parquet(file).filter(polars.col("name") == name).collect().height,
}
print("expected: each of four readers lists the name and finds it: 1")
print("observed: each lists it;", found)
assert found == {"DuckDB": 0, "DataFusion": 0, "pyarrow": 1, "Polars": 1}, "the behaviour has changed"
PY
