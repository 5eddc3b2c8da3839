# The rights of the storage manager's key on the NAS: to read and write the archive's buckets, nothing else.
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
    {
      # MinIO lets a key delete versions like objects unless this denies it: a deleted or overwritten object stays
      # a version, and this key cannot remove it.
      Effect = "Deny";
      Action = ["s3:DeleteObjectVersion"];
      Resource = map (bucket: "arn:aws:s3:::${bucket}/*") buckets;
    }
  ];
}
