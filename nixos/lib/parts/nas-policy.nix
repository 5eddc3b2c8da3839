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
    {
      # To MinIO a version is an object like any other, unless one says otherwise: what is deleted or
      # overwritten stays a version, and nobody with this key takes it away.
      Effect = "Deny";
      Action = ["s3:DeleteObjectVersion"];
      Resource = map (bucket: "arn:aws:s3:::${bucket}/*") buckets;
    }
  ];
}
