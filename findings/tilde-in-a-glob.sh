#!/usr/bin/env bash
# Polars finds nothing under an S3 folder with a tilde, and says so only when it finds nothing at all.
#
# Run: Polars 2.1.0 against a bucket of moto 5.2.5 on loopback, filled by boto3 1.44.8.
# Guess: `~` is an unreserved character in URLs and a plain one in S3 keys; in a glob only `*`, `?`,
#   `[` and `]` mean something. So `s3://b/orders~eu/*.parquet` is the files in that folder.
# Instead: the part before the first wildcard is escaped, and what S3 is asked to list lies under
#   `orders%7Eeu/`, where there is nothing. Alone it is an error; beside another pattern in the same
#   list it is silent: half of the rows. The folder or the file itself, and a wildcard further to
#   the front, are found, on local disk the glob too; `%`, known since 2025, and `#` go the same way.
# Means: an archive whose keys write odd characters as `~2E` loses just those streams from a query over
#   a list of them. Name the folder with a slash at its end, without a wildcard.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

python_packages polars==2.1.0 boto3==1.44.8 'moto[server]==5.2.5'

port=$(free_ports 1)
start "$work/moto.log" "$work/python/bin/moto_server" -H 127.0.0.1 -p "$port"
answers() { (: <"/dev/tcp/127.0.0.1/$port"); }
until_ready answers

"$python" - "http://127.0.0.1:$port" <<'PY'
import io
import sys

import boto3
import polars
from polars.exceptions import ComputeError

keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
bucket = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", **keys)
bucket.create_bucket(Bucket="archive")
for folder in ("orders", "orders~2Eeu"):
    file = io.BytesIO()
    polars.DataFrame({"stream": [folder]}).write_parquet(file)
    bucket.put_object(Bucket="archive", Key=f"v1/{folder}/1.parquet", Body=file.getvalue())
options = {"aws_endpoint_url": sys.argv[1], "aws_region": "us-east-1", "aws_allow_http": "true", **keys}


def read(*paths):
    """Returns the streams whose rows are found, or what was said."""
    sources = [f"s3://archive/v1/{path}" for path in paths]
    try:
        return sorted(polars.scan_parquet(sources, storage_options=options).collect()["stream"])
    except ComputeError as error:
        return str(error).split(":")[0]


both = read("orders/*.parquet", "orders~2Eeu/*.parquet")
alone = read("orders~2Eeu/*.parquet")
print("expected: ['orders', 'orders~2Eeu'] from a list of two globs")
print("observed:", both)
print("observed: the second alone:", alone)
for paths in (["*/*.parquet"], ["orders/", "orders~2Eeu/"], ["orders/1.parquet", "orders~2Eeu/1.parquet"]):
    found = read(*paths)
    print("observed:", paths, "finds", found)
    assert found == ["orders", "orders~2Eeu"], found
assert both == ["orders"], "the list is read otherwise now"
assert isinstance(alone, str), "alone it is read otherwise now"
PY
