#!/usr/bin/env bash
# parquet-go reads 3,000,000,000 as 18,446,744,072,414,584,320 when the field grew to 64 bits.
#
# Run: parquet-go 0.32.0 writes a uint32 and reads it into a struct whose field is a uint64 or an
#   int64; pyarrow 26.0.1 writes the same column for it too, and reads its file.
# Guess: a column may be narrower than the field that it is read into, parquet-go converts between
#   the file's schema and the struct's; each uint32 fits a uint64, so each keeps its value.
# Instead: the 32 bits are widened as a signed number. From 2,147,483,648 on the value is 2^64 - 2^32
#   too large in a uint64, and negative in an int64, without an error. The same struct with a uint32
#   reads it right, and 8 and 16 bits are right in any field.
# Means: a service that changed a counter's, a size's or an IPv4 address's field to 64 bits reads its
#   new files and falsifies the upper half of its old ones. Read with the type that the file has, and
#   widen in the program.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_module github.com/parquet-go/parquet-go@v0.32.0
python_packages pyarrow==26.0.1

cat >"$work/go/main.go" <<'GO'
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/parquet-go/parquet-go"
)

type old struct {
	Size uint32 `parquet:"size"`
	Port uint16 `parquet:"port"`
}

type unsigned struct {
	Size uint64 `parquet:"size"`
	Port uint64 `parquet:"port"`
}

type signed struct {
	Size int64 `parquet:"size"`
	Port int64 `parquet:"port"`
}

func read[T any](file string) T {
	rows, err := parquet.ReadFile[T](file)
	if err != nil {
		log.Fatal(err)
	}
	return rows[0]
}

func main() {
	own, foreign := os.Args[1], os.Args[2]
	if err := parquet.WriteFile(own, []old{{3_000_000_000, 60_000}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("expected: {3000000000 60000} from each file into each struct")
	for _, file := range []string{own, foreign} {
		same, wide, wideSigned := read[old](file), read[unsigned](file), read[signed](file)
		fmt.Println("observed: as uint32", same, "as uint64", wide, "as int64", wideSigned)
		if same != (old{3_000_000_000, 60_000}) {
			log.Fatal("the narrow field is read otherwise")
		}
		if wide != (unsigned{18_446_744_072_414_584_320, 60_000}) || wideSigned != (signed{-1_294_967_296, 60_000}) {
			log.Fatal("the behaviour has changed")
		}
	}
}
GO

"$python" - "$work/pyarrow.parquet" <<'PY'
import sys

import pyarrow
import pyarrow.parquet

table = {
    "size": pyarrow.array([3_000_000_000], pyarrow.uint32()),
    "port": pyarrow.array([60_000], pyarrow.uint16()),
}
schema = pyarrow.schema([pyarrow.field(name, column.type, nullable=False) for name, column in table.items()])
pyarrow.parquet.write_table(pyarrow.table(table, schema=schema), sys.argv[1])
PY
(cd "$work/go" && go run . "$work/own.parquet" "$work/pyarrow.parquet")
"$python" -c 'import sys, pyarrow.parquet as p
read = p.read_table(sys.argv[1])["size"].to_pylist()
print("observed: its own file by pyarrow", read)
assert read == [3_000_000_000]' "$work/own.parquet"
