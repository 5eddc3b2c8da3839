#!/usr/bin/env bash
# Four readers do not find negative amounts in a file of parquet-go, though all of them read it.
#
# Run: parquet-go 0.32.0 writes decimal(38, 2) in a [16]byte, by its documented struct tag; pyarrow
#   26.0.1, DuckDB 2.0.1, Polars 2.1.0 and DataFusion 55.0.0 read it.
# Guess: the least and the greatest value in the footer are those of the numbers: the format says
#   that decimals compare as signed ones, fixed-length bytes too. So `amount < 0` finds the debts.
# Instead: parquet-go compares the bytes, and a negative number begins with 0xff: of -5.00, 0.00 and
#   7.00 the footer says "from 0.00 to -5.00". Read whole, the file is right. Asked for
#   `amount < 0`, each reader passes over the row group and has none; for `amount >= 0` some pass over
#   it too, and DuckDB takes all of it, -5.00 included. Decimals in an int32 or an int64 are right.
# Means: sums and counts over an archive that a Go program wrote are wrong and differ with the query.
#   Copying the file by any other writer mends it. Whoever prunes by statistics trusts the writer.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_module github.com/parquet-go/parquet-go@v0.32.0
python_packages pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 datafusion==55.0.0

cat >"$work/go/main.go" <<'GO'
package main

import (
	"encoding/binary"
	"log"
	"os"

	"github.com/parquet-go/parquet-go"
)

type account struct {
	ID     int64    `parquet:"id"`
	Amount [16]byte `parquet:"amount,decimal(2:38)"`
}

// cents returns a two's complement number of 16 bytes, the greatest first, as the format has it.
func cents(value int64) (bytes [16]byte) {
	binary.BigEndian.PutUint64(bytes[:8], uint64(value>>63))
	binary.BigEndian.PutUint64(bytes[8:], uint64(value))
	return bytes
}

func main() {
	rows := []account{
		{1, cents(-500)}, {2, cents(0)}, {3, cents(700)}, // the first row group
		{4, cents(900)}, {5, cents(1200)}, {6, cents(300)},
	}
	if err := parquet.WriteFile(os.Args[1], rows, parquet.MaxRowsPerRowGroup(3)); err != nil {
		log.Fatal(err)
	}
}
GO
(cd "$work/go" && go run . "$work/accounts.parquet")

"$python" - "$work/accounts.parquet" <<'PY'
import sys
from decimal import Decimal

import datafusion
import duckdb
import polars
import pyarrow.dataset
import pyarrow.parquet

file = sys.argv[1]
assert polars.read_parquet(file)["amount"].to_list() == [Decimal(f"{n}.00") for n in (-5, 0, 7, 9, 12, 3)]
statistics = pyarrow.parquet.ParquetFile(file).metadata.row_group(0).column(1).statistics
context = datafusion.SessionContext()
context.register_parquet("accounts", file)


def count(below_zero):
    """Returns how many rows each reader finds on one side of zero."""
    zero = Decimal("0.00")
    column = polars.col("amount") < zero if below_zero else polars.col("amount") >= zero
    field = pyarrow.dataset.field("amount") < zero if below_zero else pyarrow.dataset.field("amount") >= zero
    query = f"select count(*) as n from {{}} where amount {'<' if below_zero else '>='} 0"
    assert polars.read_parquet(file).filter(column).height == (1 if below_zero else 5)
    return {
        "pyarrow": pyarrow.dataset.dataset(file).to_table(filter=field).num_rows,
        "DuckDB": duckdb.sql(query.format(f"'{file}'")).fetchall()[0][0],
        "Polars": polars.scan_parquet(file).filter(column).collect().height,
        "DataFusion": context.sql(query.format("accounts")).to_pydict()["n"][0],
    }


below, above = count(True), count(False)
print("expected: of -5.00, 0.00, 7.00, 9.00, 12.00, 3.00 each finds 1 below zero and 5 from zero on")
print("observed: below zero", below)
print("observed: from zero on", above)
print("observed: the footer says of the first three: from", statistics.min, "to", statistics.max)
assert set(below.values()) == {0}, "a reader finds it now"
assert above["DuckDB"] == 6 and above["Polars"] < 5, "the other side is answered otherwise now"
PY
