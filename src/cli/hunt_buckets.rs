//! What a hunt finds in a bucket.
//!
//! | named | is |
//! |---|---|
//! | `s3://BUCKET`, `s3://BUCKET/KEY/` | all objects, those below KEY |
//! | `s3://BUCKET/KEY*` | those that begin with KEY |
//! | `s3://BUCKET/KEY` | the object, and those below it |
//!
//! As of a directory, each is an archive, whatever it is called. A bucket that cannot be listed ends the hunt: of what lies
//! in it nothing is known, and a share that found nothing would look like one that searched.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::list;
use crate::base::Progress;
use crate::remote::{Bucket, Remote, RemoteError, S3Uri};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct InBucket {
    /// Archives, it seems.
    pub(super) objects: Vec<S3Uri>,
    /// Checkpoints whose files are objects, which are not put together.
    pub(super) dirs: Vec<S3Uri>,
}

/// Whether it can name only several.
pub(super) fn is_many(uri: &S3Uri) -> bool {
    uri.key.is_empty() || uri.key.ends_with(['/', '*'])
}

/// Looks into the bucket.
pub(super) fn find(uri: &S3Uri, remote: &Remote, progress: &dyn Progress) -> anyhow::Result<InBucket> {
    progress.stage("listing");
    let listed = remote.bucket(&uri.bucket).and_then(|bucket| keys(uri, &bucket, progress));
    let (keys, dirs) = without_dirs(listed.with_context(|| format!("{uri}: cannot be listed"))?);
    let uris = |keys: Vec<String>| keys.into_iter().map(|key| S3Uri { bucket: uri.bucket.clone(), key }).collect();
    Ok(InBucket { objects: uris(keys), dirs: uris(dirs) })
}

fn keys(uri: &S3Uri, bucket: &Bucket, progress: &dyn Progress) -> Result<Vec<String>, RemoteError> {
    let S3Uri { key, .. } = uri;
    if let Some(prefix) = key.strip_suffix('*') {
        return bucket.list(prefix, usize::MAX, progress);
    }
    if is_many(uri) {
        return bucket.list(key, usize::MAX, progress);
    }
    let mut keys = match bucket.list(&format!("{key}/"), usize::MAX, progress) {
        Ok(keys) => keys,
        // Who may read an object may not always list.
        Err(error) if error.is_denied() => Vec::new(),
        Err(error) => return Err(error),
    };
    // The shortest of the keys that begin so is the first. One that is not there is told when it is opened.
    if keys.is_empty() || bucket.list(key, 1, progress)?.first() == Some(key) {
        keys.push(key.clone());
    }
    Ok(keys)
}

/// Takes out what stands for a directory, and what lies in one that is a checkpoint; and says which are.
fn without_dirs(keys: Vec<String>) -> (Vec<String>, Vec<String>) {
    let dirs: BTreeSet<&str> = keys.iter().filter_map(|key| list::checkpoint_dir_of(key)).collect();
    let is_inside = |key: &str| dirs.contains("") || key.match_indices('/').any(|(at, _)| dirs.contains(&key[..=at]));
    let objects = keys.iter().filter(|key| !key.ends_with('/') && !is_inside(key)).cloned().collect();
    (objects, dirs.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_as_directories_are_told_and_not_taken_for_archives() {
        let check = |keys: &[&str], objects: &[&str], dirs: &[&str]| {
            assert_eq!(
                without_dirs(keys.iter().map(|key| (*key).to_owned()).collect()),
                (
                    objects.iter().map(|key| (*key).to_owned()).collect(),
                    dirs.iter().map(|key| (*key).to_owned()).collect(),
                )
            );
        };
        check(&["a.tar", "b/", "b/c.tar", "b/notes"], &["a.tar", "b/c.tar", "b/notes"], &[]);
        check(
            &["x.tar", "p/checkpoint/inventory.img", "p/config.dump", "p/deep/er", "q/inventory.img", "qq"],
            &["x.tar", "qq"],
            &["p/", "q/"],
        );
        check(&["inventory.img", "a.tar"], &[], &[""]);
    }
}
