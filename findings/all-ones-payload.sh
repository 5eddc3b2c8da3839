#!/usr/bin/env bash
# DataFusion lists a payload of 0xff bytes and does not find it: parquet-go's page index cuts it short.
#
# Run: parquet-go 0.32.0 writes three payloads with its defaults; DataFusion 55.0.0, DuckDB 2.0.1,
#   pyarrow 26.0.1 and Polars 2.1.0 look for one of them.
# Guess: bounds in the page index may be shortened, if the greatest stays at or above each value: a
#   writer counts the last byte up, or leaves the bound whole where it cannot.
# Instead: parquet-go shortens to 16 bytes, counts up, and where all 16 are 0xff it cannot and keeps
#   the short one, which is less than the payload. DataFusion, the one of the four that reads page
#   indexes, passes over the page: no row for `=`, none for `>=`. By the footer, which has the whole
#   value, the other three find it.
# Means: images of erased flash, masks and inverted keys are in the archive and not in the answer.
#   `parquet.ColumnIndexSizeLimit` above the longest value avoids it when writing; when reading, it
#   takes `datafusion.execution.parquet.enable_page_index = false`.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_module github.com/parquet-go/parquet-go@v0.32.0
python_packages pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 datafusion==55.0.0

cat >"$work/go/main.go" <<'GO'
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/parquet-go/parquet-go"
)

type message struct {
	Payload []byte `parquet:"payload"`
}

func main() {
	longIndex := parquet.ColumnIndexSizeLimit(func([]string) int { return 64 })
	rows := []message{{[]byte("text")}, {bytes.Repeat([]byte{0xff}, 16)}, {bytes.Repeat([]byte{0xff}, 20)}}
	if err := parquet.WriteFile(os.Args[1], rows); err != nil {
		log.Fatal(err)
	}
	if err := parquet.WriteFile(os.Args[2], rows, longIndex); err != nil {
		log.Fatal(err)
	}
}
GO
(cd "$work/go" && go run . "$work/payloads.parquet" "$work/long-index.parquet")

"$python" - "$work" <<'PY'
import sys

import datafusion
import duckdb
import polars
import pyarrow.dataset

ones = b"\xff" * 20


def count(file, page_index=True):
    """Returns how often each reader finds the payload."""
    config = datafusion.SessionConfig().set(
        "datafusion.execution.parquet.enable_page_index", str(page_index).lower()
    )
    context = datafusion.SessionContext(config)
    context.register_parquet("messages", file)
    listed = context.sql("select payload from messages").to_pydict()["payload"]
    assert sorted(listed) == sorted([b"text", b"\xff" * 16, ones]), listed
    where = f"where payload >= X'{ones.hex()}'"
    field = pyarrow.dataset.field("payload")
    return {
        "DataFusion": context.sql(f"select count(*) as n from messages {where}").to_pydict()["n"][0],
        "DuckDB": duckdb.sql(f"select count(*) from '{file}' where payload >= unhex('{ones.hex()}')").fetchall()[0][0],
        "pyarrow": pyarrow.dataset.dataset(file).to_table(filter=field >= ones).num_rows,
        "Polars": polars.scan_parquet(file).filter(polars.col("payload") >= ones).collect().height,
    }


found = count(f"{sys.argv[1]}/payloads.parquet")
without = count(f"{sys.argv[1]}/payloads.parquet", page_index=False)
whole = count(f"{sys.argv[1]}/long-index.parquet")
right = {"DataFusion": 1, "DuckDB": 1, "pyarrow": 1, "Polars": 1}
print("expected:", right)
print("observed:", found)
print("observed: with a page index of whole values:", whole["DataFusion"], "- without it:", without["DataFusion"])
assert whole == without == right, "another one lost it"
assert found == {**right, "DataFusion": 0}, "the behaviour has changed"
PY
