//! Looking at every byte of the store, and mending what can be mended.
//!
//! A blob is hashed. An unpacked layer is compared with its blob by unpacking that again: both trees, written as archives with everything there is, have
//! to have the same digest. So damage of any kind shows, and what is needed to mend it is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::PackForm;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use serde::Serialize;

use crate::cancel::CancelToken;
use crate::container;
use crate::engine::{Engine, Inner};
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::oci::Digest;
use crate::process::reader::{self, View};
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::snapshot::{
    self, Application, Below, TEMPORARY, TREE, Worker, lock_temporary, make_tree, open_tree,
};
use crate::state::images::UnpackedLayer;
use crate::state::{self, Locked, Object, Session, images, random_hex};

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Scrub {
    /// Blobs that were hashed.
    pub blobs: u64,
    /// Unpacked layers that were compared with their blobs.
    pub layers: u64,
    /// What is wrong, or was.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// `blob`, `layer`, `stray` for what belongs to nothing, or `store` for everything else.
    pub kind: String,
    /// The digest of the blob, the chain id of the layer, or the path of the stray below the data root.
    pub object: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Names of the images that have it, or their ids.
    pub images: Vec<String>,
    /// Whether it was mended.
    pub repaired: bool,
}

impl Engine {
    /// Looks for damage in everything that the store has, and mends it if asked to.
    ///
    /// A damaged layer is unpacked again from its blob, unless a running container uses it. A damaged or missing manifest or configuration is
    /// written again. A damaged layer blob is taken away, so that the next load or pull of the image brings it again; it is reported until then.
    /// Blobs and layers that belong to nothing are removed. They are looked for only when nobody else is at work on images.
    pub fn scrub(&self, repair: bool, progress: ProgressSink<'_>, cancel: &CancelToken) -> Result<Scrub> {
        let inner = &*self.inner()?;
        let reporter = &Reporter::new(&inner.store.paths.data.to_string_lossy(), progress);
        Session::run(&inner.store, inner, cancel, |session| {
            let mut scrub = Scrub::default();
            let rows = inner.store.db.read(|connection| images::unpacked(connection, &inner.store.idmap))?;
            // A layer is unpacked from its blob again.
            reporter.expect(rows.iter().map(bytes_of).sum());
            blobs((inner, session), repair, &mut scrub, reporter, cancel)?;
            let compared = layers(inner, &rows, repair, (&mut scrub, reporter), cancel)?;
            // Every blob, and these layers, were looked at already, and closer.
            for flaw in state::verify_structure(&inner.store)? {
                let told = match &flaw.about {
                    Object::Blob(digest) => {
                        scrub.problems.iter().any(|known| known.object == digest.as_str())
                    }
                    Object::Layer(n) => compared.contains(n),
                    Object::Store | Object::Stray(_) => false,
                };
                if !told {
                    scrub.problems.push(Problem {
                        kind: "store".into(),
                        object: String::new(),
                        message: flaw.message,
                        images: Vec::new(),
                        repaired: false,
                    });
                }
            }
            // What fails from here on is told among the rest: much may have been done by now.
            let failed = |error: &Error| Problem {
                kind: "store".into(),
                object: String::new(),
                message: error.to_string(),
                images: Vec::new(),
                repaired: false,
            };
            // Of containers, what nobody is responsible for is removed by whoever looks; what cannot be is told.
            match inner.sweep() {
                Ok(errors) => scrub.problems.extend(errors.iter().map(failed)),
                Err(error) => scrub.problems.push(failed(&error)),
            }
            let mend = repair.then_some(inner as &dyn Worker);
            match state::strays(&inner.store, Some(session), mend, cancel) {
                Ok(flaws) => {
                    for flaw in flaws {
                        let Object::Stray(object) = flaw.about else { continue };
                        scrub.problems.push(Problem {
                            kind: "stray".into(),
                            object,
                            message: flaw.message,
                            images: Vec::new(),
                            repaired: repair,
                        });
                    }
                }
                Err(error) => scrub.problems.push(failed(&error)),
            }
            reporter.tell(ProgressKind::Done, None);
            Ok(scrub)
        })
        .context(|| "looking for damage".to_owned())
    }
}

fn bytes_of(row: &UnpackedLayer) -> u64 {
    row.blob.as_ref().map_or(0, |(_, size)| *size)
}

fn blobs(
    (inner, session): (&Inner, &Session),
    repair: bool,
    scrub: &mut Scrub,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let store = &inner.store;
    let blobs = store.db.read(images::blobs)?;
    reporter.expect_more(blobs.iter().map(|(_, size)| size).sum());
    for (digest, size) in blobs {
        cancel.check()?;
        scrub.blobs += 1;
        let meter = reporter.meter(&digest, size);
        // The file that is looked at, which somebody may replace meanwhile.
        let file = store.content.identity(&digest)?;
        let there = store.content.size(&digest)?;
        let message = match there {
            None => format!("blob {digest} is missing"),
            Some(found) if found != size => format!("blob {digest} has {found} bytes instead of {size}"),
            Some(_) if !state::is_intact(store, &digest, size, &meter, cancel)? => {
                format!("the content of blob {digest} is damaged")
            }
            Some(_) => continue,
        };
        let (document, users) = store.db.read(|connection| {
            let known = images::blobs(connection)?.into_iter().any(|(known, _)| known == digest);
            Ok((images::document(connection, &digest)?, known.then(|| images::users(connection, &digest))))
        })?;
        // Removed while we looked.
        let Some(users) = users else { continue };
        let mut problem = Problem {
            kind: "blob".into(),
            object: digest.to_string(),
            message,
            images: users?,
            repaired: false,
        };
        if repair {
            if let Some(file) = file
                && !store.content.delete_if(session, &digest, file)?
            {
                // What is brought in was looked at on its way.
                problem.message.push_str("; somebody has brought it again meanwhile");
                problem.repaired = true;
                scrub.problems.push(problem);
                continue;
            }
            match document {
                Some(bytes) => {
                    let staged = crate::content::stage_bytes(session, &bytes)?;
                    staged.check(session, &digest)?;
                    store.publish(session, &staged, &digest)?;
                    problem.repaired = true;
                }
                None => problem.message.push_str("; it was taken away: load or pull the image again"),
            }
        }
        scrub.problems.push(problem);
    }
    Ok(())
}

/// Layers from the lowest up: what is compared needs sound ones below. Returns their numbers.
fn layers(
    inner: &Inner,
    rows: &[UnpackedLayer],
    repair: bool,
    (scrub, reporter): (&mut Scrub, &Reporter<'_>),
    cancel: &CancelToken,
) -> Result<BTreeSet<i64>> {
    let by_number: BTreeMap<i64, &UnpackedLayer> = rows.iter().map(|row| (row.n, row)).collect();
    let mut sound: BTreeMap<i64, bool> = BTreeMap::new();
    // A layer has a larger number than those below it, as it was recorded after them.
    for row in by_number.values() {
        cancel.check()?;
        let meter = reporter.meter(&row.chain_id, bytes_of(row));
        meter.tell(ProgressKind::Check);
        let below_is_sound = row.parent.is_none_or(|parent| sound.get(&parent).copied().unwrap_or(false));
        let mut problem = |message: String, repaired: bool| -> Result<()> {
            let images =
                inner.store.db.read(|connection| images::users_of_chain(connection, &row.chain_id))?;
            scrub.problems.push(Problem {
                kind: "layer".into(),
                object: row.chain_id.to_string(),
                message,
                images,
                repaired,
            });
            Ok(())
        };
        let state = if below_is_sound {
            one(inner, row, &by_number, repair, cancel)?
        } else {
            State::Unknown("it is on top of a layer that could not be checked".into())
        };
        scrub.layers += 1;
        meter.advance(bytes_of(row), ProgressKind::Check);
        meter.tell(ProgressKind::Check);
        let fine = matches!(state, State::Sound | State::Repaired);
        match state {
            State::Sound | State::Gone => {}
            State::Repaired => problem(format!("layer {} was damaged", row.n), true)?,
            State::Damaged(why) => problem(format!("layer {} is damaged{why}", row.n), false)?,
            State::Unknown(why) => problem(format!("layer {} cannot be checked: {why}", row.n), false)?,
        }
        sound.insert(row.n, fine);
    }
    Ok(sound.into_keys().collect())
}

enum State {
    Sound,
    Repaired,
    Damaged(String),
    Unknown(String),
    Gone,
}

fn one(
    inner: &Inner,
    row: &UnpackedLayer,
    rows: &BTreeMap<i64, &UnpackedLayer>,
    repair: bool,
    cancel: &CancelToken,
) -> Result<State> {
    let store = &inner.store;
    let Some((digest, size)) = &row.blob else { return Ok(State::Gone) };
    let Ok(input) = store.content.open_blob(digest, *size) else {
        return Ok(State::Unknown(format!("blob {digest} is missing")));
    };
    // Layers below, uppermost first.
    let mut lower: Vec<String> = Vec::new();
    let mut parent = row.parent;
    while let Some(n) = parent {
        lower.push(snapshot::name_of(n));
        parent = rows.get(&n).and_then(|row| row.parent);
    }
    let scratch = Scratch::make(inner, cancel)?;
    let target = scratch.tree()?;
    let below = Below::of(store, &lower);
    let job = Application { target: target.as_fd(), input: input.as_fd(), below, ready: None };
    let applied = match inner.apply(job, cancel) {
        Ok(applied) => applied,
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::StorageFull) => {
            return Err(error);
        }
        Err(error) => return Ok(State::Unknown(error.message().to_owned())),
    };
    if Digest::from_sha256(&applied.diff_sha256) != row.diff_id {
        return Ok(State::Unknown(format!("blob {digest} is damaged")));
    }
    let digest_of = |tree: BorrowedFd<'_>| {
        reader::pack(inner, View::Directory(tree), PackForm::Exact, None, None, cancel)
            .map(|done| done.diff_sha256)
    };
    let wanted = digest_of(target.as_fd())?;
    let found = match open_tree(store, &row.n.to_string()) {
        Ok(tree) => digest_of(tree.as_fd()).ok(),
        Err(_) => None,
    };
    if found == Some(wanted) {
        return Ok(State::Sound);
    }
    let still_there = store.db.read(images::layer_numbers)?.contains(&row.n);
    if !still_there {
        return Ok(State::Gone);
    }
    if !repair {
        return Ok(State::Damaged(String::new()));
    }
    if let Some(container) = container::running_on(inner, &row.chain_id)? {
        return Ok(State::Damaged(format!(", and in use by container \"{container}\": stop it first")));
    }
    rustix::fs::syncfs(&store.layers).call("syncfs", store.paths.layers())?;
    scratch.take_the_place_of(row.n)?;
    Ok(State::Repaired)
}

/// A temporary directory among the layers, locked, and removed at the end.
struct Scratch<'a> {
    inner: &'a Inner,
    name: String,
    lock: Locked,
}

impl<'a> Scratch<'a> {
    fn make(inner: &'a Inner, cancel: &CancelToken) -> Result<Scratch<'a>> {
        let name = format!("{TEMPORARY}scrub-{}", random_hex(6)?);
        let lock = lock_temporary(&inner.store, &name, cancel)?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a new directory is locked by somebody else"))?;
        Ok(Scratch { inner, name, lock })
    }

    /// The tree, new and empty, as a layer's is.
    fn tree(&self) -> Result<OwnedFd> {
        make_tree(&self.inner.store, &self.name, &self.lock)
    }

    /// Exchanges the tree with that of a layer, which is removed with this then.
    fn take_the_place_of(&self, n: i64) -> Result<()> {
        let store = &self.inner.store;
        let (own, place) = (format!("{}/{TREE}", self.name), format!("{n}/{TREE}"));
        let path = store.paths.layers().join(&place);
        let exchange = |flags| rustix::fs::renameat_with(&store.layers, &own, &store.layers, &place, flags);
        match exchange(RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => {
                state::make_dir(&store.layers, &n.to_string(), &store.paths.layers())?;
                exchange(RenameFlags::NOREPLACE).call("rename", path)
            }
            result => result.call("rename", path),
        }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is found by the sweep.
        let _ = self.inner.remove(self.inner.store.layers.as_fd(), &[&self.name]);
    }
}
