# What the storage manager's key may do on the NAS: read and write the archive's buckets, nothing else.
buckets: {
  Version = "2012-10-17";
  Statement = [
    {
      Effect = "Allow";
      Action = ["s3:GetBucketLocation" "s3:ListBucket" "s3:ListBucketMultipartUploads"];
      Resource = map (bucket: "arn:aws:s3:::${bucket}") buckets;
    }
    {
      Effect = "Allow";
      Action = ["s3:AbortMultipartUpload" "s3:DeleteObject" "s3:GetObject" "s3:ListMultipartUploadParts" "s3:PutObject"];
      Resource = map (bucket: "arn:aws:s3:::${bucket}/*") buckets;
    }
  ];
}
