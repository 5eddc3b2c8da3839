//! The start of a store: takes the directory, removes uncommitted files, rebuilds the index.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};

use super::index::{Bucket, Upload};
use super::layout::{self, LAYOUT_VERSION, Layout, object_name, read_json, read_trailer};
use super::meta::{BucketMeta, Lock, PartMeta, UploadMeta, VersionMeta};
use super::{DeletedEarly, Index, STRIPES, Store, seq_of};
use crate::clock::Clock;
use crate::error::StartError;

const LAYOUT_NAME: &str = "cim-fake-wasabi";

/// The content of FORMAT.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    layout: String,
    version: u32,
}

impl Store {
    /// Opens the directory, creating it when it does not exist, and holds it until dropped.
    pub(crate) fn open(root: &Path, fsync: bool, clock: Arc<Clock>) -> Result<Self, StartError> {
        let layout = Layout::new(root.to_owned());
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Dir { path, source }
        };
        fs::create_dir_all(root).map_err(io(root))?;
        let lock = take(&layout)?;
        check_format(&layout, fsync)?;
        clear(&layout.tmp()).map_err(io(&layout.tmp()))?;
        fs::create_dir_all(layout.tmp()).map_err(io(&layout.tmp()))?;
        fs::create_dir_all(layout.buckets()).map_err(io(&layout.buckets()))?;
        let mut loader = Loader { layout: &layout, fsync, last_seq: 0 };
        let index = loader.index()?;
        let last_seq = loader.last_seq;
        Ok(Self {
            layout,
            fsync,
            clock,
            index: RwLock::new(index),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            last_seq: AtomicU64::new(last_seq),
            random: RandomState::new(),
            deleted: DeletedEarly::default(),
            lock,
        })
    }
}

/// Locks the directory for this process.
fn take(layout: &Layout) -> Result<File, StartError> {
    let path = layout.lock();
    let io = |source| StartError::Dir { path: path.clone(), source };
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: layout.root().to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Checks the layout's name and version; writes them into a new directory.
fn check_format(layout: &Layout, fsync: bool) -> Result<(), StartError> {
    let path = layout.format();
    let io = |source| StartError::Dir { path: path.clone(), source };
    match read_json::<Format>(&path) {
        Ok(format) if format.layout == LAYOUT_NAME && format.version == LAYOUT_VERSION => Ok(()),
        Ok(format) => Err(StartError::Layout {
            path,
            found: format!("{} version {}", format.layout, format.version),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ours = |name: &std::ffi::OsStr| name == "LOCK" || name == "FORMAT.new";
            let foreign = fs::read_dir(layout.root())
                .map_err(io)?
                .filter_map(Result::ok)
                .find(|entry| !ours(&entry.file_name()));
            if let Some(entry) = foreign {
                return Err(StartError::Foreign {
                    path: layout.root().to_owned(),
                    example: entry.file_name().to_string_lossy().into_owned(),
                });
            }
            let format = Format { layout: LAYOUT_NAME.to_owned(), version: LAYOUT_VERSION };
            let tmp = layout.root().join("FORMAT.new");
            layout::write_json(&tmp, &path, &format, fsync).map_err(io)
        }
        Err(source) => Err(StartError::Dir { path, source }),
    }
}

/// Removes everything in a directory of files that were never committed.
fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Loader<'a> {
    layout: &'a Layout,
    fsync: bool,
    last_seq: u64,
}

impl Loader<'_> {
    fn index(&mut self) -> Result<Index, StartError> {
        let mut buckets = BTreeMap::new();
        for path in entries(&self.layout.buckets())? {
            let name = file_name(&path)?;
            let meta: BucketMeta =
                read_json(&self.layout.bucket_meta(&name)).map_err(damaged(&path))?;
            let mut bucket = Bucket::new(meta);
            self.objects(&name, &mut bucket)?;
            self.uploads(&name, &mut bucket)?;
            buckets.insert(name, bucket);
        }
        Ok(Index { buckets })
    }

    fn objects(&mut self, name: &str, bucket: &mut Bucket) -> Result<(), StartError> {
        let mut locks: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut files = Vec::new();
        for path in entries(&self.layout.objects(name))? {
            let file = file_name(&path)?;
            match file.strip_suffix(".lock") {
                Some(object) => {
                    locks.insert(object.to_owned(), path);
                }
                None => files.push((file, path)),
            }
        }
        for (file, path) in files {
            let opened = File::open(&path).map_err(damaged(&path))?;
            let mut meta: VersionMeta = read_trailer(&opened).map_err(damaged(&path))?;
            if object_name(&meta.key, &meta.version_id) != file {
                let error = io::Error::other("its name and its key do not belong together");
                return Err(damaged(&path)(error));
            }
            if let Some(lock) = locks.remove(&file) {
                meta.lock = read_json::<Lock>(&lock).map_err(damaged(&lock))?;
            }
            self.last_seq = self.last_seq.max(meta.seq);
            bucket.insert(Arc::new(meta));
        }
        // The object was removed first, and the process was killed before it removed the lock.
        for orphan in locks.into_values() {
            layout::remove(&orphan, self.fsync)
                .map_err(|source| StartError::Dir { path: orphan, source })?;
        }
        Ok(())
    }

    fn uploads(&mut self, name: &str, bucket: &mut Bucket) -> Result<(), StartError> {
        for dir in entries(&self.layout.uploads(name))? {
            let upload_id = file_name(&dir)?;
            let meta: UploadMeta = read_json(&dir.join("upload.json")).map_err(damaged(&dir))?;
            self.last_seq = self.last_seq.max(seq_of(&upload_id).unwrap_or(0));
            let mut parts = BTreeMap::new();
            for path in entries(&dir)? {
                if !file_name(&path)?.starts_with("part-") {
                    continue;
                }
                let opened = File::open(&path).map_err(damaged(&path))?;
                let part: PartMeta = read_trailer(&opened).map_err(damaged(&path))?;
                parts.insert(part.number, Arc::new(part));
            }
            let key = (meta.key.clone(), upload_id);
            bucket.uploads.insert(key, Upload { meta: Arc::new(meta), parts });
        }
        Ok(())
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StartError> {
    let io = |source| StartError::Dir { path: dir.to_owned(), source };
    fs::read_dir(dir).map_err(io)?.map(|entry| Ok(entry.map_err(io)?.path())).collect()
}

fn file_name(path: &Path) -> Result<String, StartError> {
    path.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| damaged(path)(io::Error::other("its name is not one of this layout")))
}

fn damaged(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Damaged { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_free_again_although_a_child_has_the_lock_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), false, Arc::new(Clock::default()));
        let store = open().unwrap();
        // A child inherits this on fork, until it runs the other program.
        let inherited = store.lock.try_clone().unwrap();
        assert!(matches!(open(), Err(StartError::InUse { .. })));
        drop(store);
        open().unwrap();
        drop(inherited);
    }
}
