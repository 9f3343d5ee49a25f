//! Whole images: pulled, pushed, copied and pinned, with a registry that behaves and one that does not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::super::fetch::{Blob, Fetcher};
use super::super::ground::Ground;
use super::super::net::held;
use super::super::progress::Reporter;
use super::super::pull::{plan_for, pull_to};
use super::super::push::push_from;
use super::super::{CopyOptions, Progress, ProgressKind, PullOptions, PullPolicy, PushOptions};
use super::*;
use crate::halt::Halt;
use crate::image::ImageSummary;
use crate::oci::{Descriptor, media_type};
use crate::process::Deadline;
use crate::snapshot::tests::{FakeWorker, compressed, tar};
use crate::state::tests::temporary;
use crate::state::{Session, Store, images, verify};

/// A registry that holds what it is given.
#[derive(Default)]
struct Memory {
    /// By repository and tag or digest: media type and bytes.
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    /// By repository and digest.
    blobs: HashMap<(String, String), Vec<u8>>,
    uploads: HashMap<String, Vec<u8>>,
}

type Fault = Arc<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

pub(super) struct Server {
    pub(super) fake: Fake,
    memory: Arc<Mutex<Memory>>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Server {
    pub(super) fn start() -> Server {
        let memory = Arc::<Mutex<Memory>>::default();
        let fault = Arc::<Mutex<Option<Fault>>>::default();
        let (their_memory, their_fault) = (Arc::clone(&memory), Arc::clone(&fault));
        let fake = Fake::start(move |seen| {
            let fault = their_fault.lock().unwrap().clone();
            let broken = fault.and_then(|fault| fault(seen));
            broken.unwrap_or_else(|| their_memory.lock().unwrap().answer(seen))
        });
        Server { fake, memory, fault }
    }

    pub(super) fn fault(&self, fault: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) {
        *self.fault.lock().unwrap() = Some(Arc::new(fault));
    }

    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.fake.authority())
    }

    pub(super) fn lines(&self, part: &str) -> Vec<String> {
        self.fake.lines().into_iter().filter(|line| line.contains(part)).collect()
    }

    fn blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let key = (repository.to_owned(), digest.to_string());
        self.memory.lock().unwrap().blobs.insert(key, bytes.to_vec());
        digest
    }

    fn manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut memory = self.memory.lock().unwrap();
        for name in [tag, digest.as_str()] {
            let key = (repository.to_owned(), name.to_owned());
            memory.manifests.insert(key, (media_type.to_owned(), bytes.to_vec()));
        }
        digest
    }

    fn manifest_of(&self, repository: &str, tag: &str) -> Vec<u8> {
        let memory = self.memory.lock().unwrap();
        memory.manifests[&(repository.to_owned(), tag.to_owned())].1.clone()
    }

    /// An image of gzip layers with one file each; the digests of the manifest and of the layers.
    pub(super) fn image(
        &self,
        repository: &str,
        tag: &str,
        architecture: &str,
        files: &[&str],
    ) -> (Digest, Vec<Digest>) {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for file in files {
            // Long enough for several pieces, and not of the sort that compresses to nothing.
            let text: String = (0..20_000u32)
                .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761) ^ file.len() as u32))
                .collect();
            let plain = tar(&[(file, &format!("{file}{text}"))]);
            diff_ids.push(Digest::of(&plain).to_string());
            let bytes = compressed("gzip", &plain);
            layers.push((self.blob(repository, &bytes), bytes.len()));
        }
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string();
        let id = self.blob(repository, config.as_bytes());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": {"mediaType": media_type::CONFIG, "digest": id.as_str(), "size": config.len()},
            "layers": layers.iter().map(|(digest, size)| serde_json::json!({
                "mediaType": media_type::LAYER_GZIP, "digest": digest.as_str(), "size": size,
            })).collect::<Vec<_>>(),
        })
        .to_string();
        let digest = self.manifest(repository, tag, media_type::MANIFEST, manifest.as_bytes());
        (digest, layers.into_iter().map(|(digest, _)| digest).collect())
    }

    /// An index of images and something that is none.
    fn index(&self, repository: &str, tag: &str, images: &[(&str, &Digest)]) -> Digest {
        let entry = |architecture: &str, digest: &Digest| {
            let size = self.manifest_of(repository, digest.as_str()).len();
            serde_json::json!({
                "mediaType": media_type::MANIFEST, "digest": digest.as_str(), "size": size,
                "platform": {"os": if architecture == "unknown" { "unknown" } else { "linux" }, "architecture": architecture},
            })
        };
        let attestation = self.manifest(repository, "attestation", media_type::MANIFEST, b"{}");
        let mut entries: Vec<_> = images.iter().map(|(name, digest)| entry(name, digest)).collect();
        entries.push(entry("unknown", &attestation));
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries,
        })
        .to_string();
        self.manifest(repository, tag, media_type::INDEX, index.as_bytes())
    }
}

impl Memory {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let Some(path) = path.strip_prefix("/v2/") else { return Reply::new(404) };
        if path.is_empty() {
            return Reply::new(200);
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(seen, repository, name);
        }
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(seen, repository, id, query);
        }
        let Some((repository, digest)) = path.split_once("/blobs/") else { return Reply::new(404) };
        let Some(bytes) = self.blobs.get(&(repository.to_owned(), digest.to_owned())) else {
            return Reply::new(404).body(error_document("BLOB_UNKNOWN"));
        };
        let range = seen.header("range").and_then(|text| text.strip_prefix("bytes="));
        let from = range.and_then(|text| text.split('-').next()).and_then(|text| text.parse::<usize>().ok());
        match from {
            Some(from) if from < bytes.len() => Reply::new(206)
                .header("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
                .body(&bytes[from..]),
            _ if seen.method == "HEAD" => Reply::new(200).header("Content-Length", bytes.len().to_string()),
            _ => Reply::new(200).body(bytes.clone()),
        }
    }

    fn manifest(&mut self, seen: &Seen, repository: &str, name: &str) -> Reply {
        let key = (repository.to_owned(), name.to_owned());
        if seen.method == "PUT" {
            let digest = Digest::of(&seen.body);
            let value = (seen.header("content-type").unwrap_or_default().to_owned(), seen.body.clone());
            self.manifests.insert(key, value.clone());
            self.manifests.insert((repository.to_owned(), digest.to_string()), value);
            return Reply::new(201).header("Docker-Content-Digest", digest.as_str()).header("Location", "/");
        }
        match self.manifests.get(&key) {
            None => Reply::new(404).body(error_document("MANIFEST_UNKNOWN")),
            Some((media_type, bytes)) => {
                let reply = Reply::new(200)
                    .header("Content-Type", media_type)
                    .header("Docker-Content-Digest", Digest::of(bytes).as_str());
                match seen.method.as_str() {
                    "HEAD" => reply.header("Content-Length", bytes.len().to_string()),
                    _ => reply.body(bytes.clone()),
                }
            }
        }
    }

    fn upload(&mut self, seen: &Seen, repository: &str, id: &str, query: &str) -> Reply {
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(
                |(_, value)| {
                    value.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/")
                },
            )
        };
        let location = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}");
        if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
            && let Some(bytes) = self.blobs.get(&(from, digest.clone())).cloned()
        {
            self.blobs.insert((repository.to_owned(), digest), bytes);
            return Reply::new(201).header("Location", "/");
        }
        let id = if id.is_empty() { self.uploads.len().to_string() } else { id.to_owned() };
        let upload = self.uploads.entry(id.clone()).or_default();
        upload.extend_from_slice(&seen.body);
        if let Some(digest) = parameter("digest") {
            let bytes = std::mem::take(upload);
            if Digest::of(&bytes).as_str() != digest {
                return Reply::new(400).body(error_document("DIGEST_INVALID"));
            }
            self.blobs.insert((repository.to_owned(), digest), bytes);
            return Reply::new(201).header("Location", "/");
        }
        let end = upload.len().saturating_sub(1);
        Reply::new(202).header("Location", location(&id)).header("Range", format!("0-{end}"))
    }
}

/// A store, and what a pull of it told.
pub(super) struct Here {
    _dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) worker: FakeWorker,
    pub(super) network: Network,
    told: Mutex<Vec<Progress>>,
}

impl Here {
    pub(super) fn new() -> Here {
        let (dir, store) = temporary();
        Here {
            _dir: dir,
            store,
            worker: FakeWorker::default(),
            network: Network::usual(),
            told: Mutex::default(),
        }
    }

    /// With another network.
    pub(super) fn with(self, network: Network) -> Here {
        Here { network, ..self }
    }

    pub(super) fn ground(&self) -> Ground<'_> {
        Ground { store: &self.store, worker: &self.worker, network: &self.network, lock_file: None }
    }

    pub(super) fn pull_with(
        &self,
        name: &str,
        options: &PullOptions,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let kept = AtomicBool::new(false);
        let sink = |progress: &Progress| {
            kept.fetch_or(progress.kind == ProgressKind::Retry && held(true) > 0, Ordering::SeqCst);
            self.told.lock().unwrap().push(progress.clone());
        };
        let result = pull_to(self.ground(), name, options, &sink, Deadline::never(), cancel);
        assert!(!kept.into_inner(), "who tries again later keeps others from the connection meanwhile");
        result
    }

    pub(super) fn pull(&self, name: &str) -> Result<ImageSummary> {
        self.pull_with(name, &options(), &CancelToken::never())
    }

    /// Gives one more name.
    pub(super) fn name(&self, image: &str, name: &str) {
        let name = Reference::parse(name).unwrap();
        Session::run(&self.store, &self.worker, &CancelToken::never(), |session| {
            crate::image::change(&self.store, session, |tx| {
                let group = images::group(tx, image, None)?;
                images::set_group(tx, &name, &group.ids, group.index.as_ref())
            })
        })
        .unwrap();
    }

    fn kinds(&self) -> Vec<ProgressKind> {
        std::mem::take(&mut *self.told.lock().unwrap()).into_iter().map(|progress| progress.kind).collect()
    }

    fn partial(&self) -> Vec<(String, u64)> {
        let entries = std::fs::read_dir(self.store.content.path.join("partial")).unwrap();
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect()
    }

    #[track_caller]
    pub(super) fn assert_clean(&self, images: usize) {
        assert_eq!(verify(&self.store, &Reporter::silent(), &CancelToken::never()).unwrap(), []);
        let list = self.store.db.read(|connection| images::summaries(connection, None)).unwrap();
        assert_eq!(list.len(), images);
        assert_eq!(std::fs::read_dir(self.store.content.path.join("ingest")).unwrap().count(), 0);
        let layers = std::fs::read_dir(self.store.paths.layers()).unwrap();
        let temporary = layers.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(crate::snapshot::TEMPORARY)
        });
        assert_eq!(temporary.count(), 0);
    }
}

pub(super) fn options() -> PullOptions {
    PullOptions { registry: insecure(), ..PullOptions::default() }
}

pub(super) fn insecure() -> RegistryOptions {
    RegistryOptions::default().insecure(true).retries(2)
}

#[test]
fn an_image_comes_once_and_an_unchanged_name_is_one_question() {
    let (server, here) = (Server::start(), Here::new());
    let (digest, layers) = server.image("a/b", "1", "amd64", &["one", "two", "three"]);
    let name = server.name("a/b:1");
    let plan = plan_for(here.ground(), &name, &options(), &|_| {}, &CancelToken::never()).unwrap();
    assert_eq!((plan.blobs.len(), plan.present_bytes, plan.digest.as_str()), (4, 0, digest.as_str()));
    let image = here.pull(&name).unwrap();
    assert_eq!((image.digest.as_str(), image.references.as_slice()), (digest.as_str(), &[name.clone()][..]));
    assert_eq!(here.worker.applied.load(Ordering::SeqCst), 3);
    let kinds = here.kinds();
    for kind in [ProgressKind::Resolve, ProgressKind::Done] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 1);
    }
    // The configuration is a blob, too.
    for (kind, count) in [
        (ProgressKind::BlobStart, 4),
        (ProgressKind::BlobDone, 4),
        (ProgressKind::Unpack, 3),
        (ProgressKind::UnpackDone, 3),
    ] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), count, "{kind:?}");
    }
    for layer in &layers {
        assert_eq!(server.lines(layer.as_str()).len(), 1);
    }
    here.assert_clean(1);
    let before = server.fake.lines().len();
    assert_eq!(here.pull(&name).unwrap(), image);
    assert_eq!(server.fake.lines()[before..], ["HEAD /v2/a/b/manifests/1"]);
    assert_eq!(here.worker.applied.load(Ordering::SeqCst), 3);
    let plan = plan_for(here.ground(), &name, &options(), &|_| {}, &CancelToken::never()).unwrap();
    assert_eq!((plan.missing_bytes, plan.blobs.iter().all(|blob| blob.present)), (0, true));

    // Nor is it more where tokens are used.
    server.fault(|seen| {
        let authority = seen.header("host").unwrap();
        if seen.target.starts_with("/token") {
            return Some(Reply::new(200).body(r#"{"token":"t","expires_in":300}"#));
        }
        let challenge = format!("Bearer realm=\"http://{authority}/token\"");
        (seen.header("authorization") != Some("Bearer t"))
            .then(|| Reply::new(401).header("WWW-Authenticate", challenge))
    });
    here.pull(&name).unwrap();
    let before = server.fake.lines().len();
    here.pull(&name).unwrap();
    assert_eq!(server.fake.lines()[before..], ["HEAD /v2/a/b/manifests/1"]);
    assert_eq!(server.lines("/token").len(), 1);

    // The same content under another name brings no blob.
    server.image("a/b", "2", "amd64", &["one", "two", "three"]);
    let before = server.fake.lines().len();
    here.pull(&server.name("a/b:2")).unwrap();
    assert!(server.fake.lines()[before..].iter().all(|line| !line.contains("/blobs/")));
    // A name that moves on, with one layer more.
    server.image("a/b", "1", "amd64", &["one", "two", "three", "four"]);
    let newer = here.pull(&name).unwrap();
    assert_ne!(newer.id, image.id);
    assert_eq!(here.worker.applied.load(Ordering::SeqCst), 4);
    here.assert_clean(2);
}

#[test]
fn by_digest_no_name_is_given_and_the_image_is_found() {
    let (server, here) = (Server::start(), Here::new());
    let (digest, _) = server.image("a/b", "1", "amd64", &["one"]);
    let pinned = server.name(&format!("a/b@{digest}"));
    let image = here.pull(&pinned).unwrap();
    assert_eq!(image.references, Vec::<String>::new());
    let find = |name: &str| here.store.db.read(|connection| images::find(connection, name));
    assert_eq!(find(&pinned).unwrap().id, image.id);
    assert_eq!(find(&server.name(&format!("other@{digest}"))).unwrap_err().kind(), ErrorKind::ImageNotFound);
    // What is named by its content needs no question.
    let before = server.fake.lines().len();
    assert_eq!(here.pull(&pinned).unwrap().id, image.id);
    assert_eq!(server.fake.lines().len(), before);
    // It is not without a name, as far as pruning goes.
    assert!(here.store.db.read(|connection| images::unused(connection, false)).unwrap().is_empty());
    let wrong = server.name(&format!("a/b@{}", Digest::of(b"x")));
    assert_eq!(here.pull(&wrong).unwrap_err().kind(), ErrorKind::ImageNotFound);
}

#[test]
fn a_blob_that_is_cut_goes_on_where_it_stopped() {
    let (server, here) = (Server::start(), Here::new());
    let (_, layers) = server.image("a/b", "1", "amd64", &["one"]);
    let layer = layers[0].to_string();
    let memory = Arc::clone(&server.memory);
    let count = std::sync::atomic::AtomicUsize::new(0);
    server.fault(move |seen| {
        let first = seen.target.ends_with(&layer) && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| {
            let bytes = memory.lock().unwrap().blobs[&("a/b".to_owned(), layer.clone())].clone();
            Reply::new(200).body(bytes).cut_after(5000)
        })
    });
    here.pull(&server.name("a/b:1")).unwrap();
    let ranges: Vec<_> = server
        .fake
        .seen()
        .iter()
        .filter(|seen| seen.target.ends_with(layers[0].as_str()))
        .map(|seen| seen.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges.len(), 2);
    assert!(ranges[1].as_deref().is_some_and(|range| range.starts_with("bytes=5000-")), "{ranges:?}");
    assert!(here.kinds().contains(&ProgressKind::Retry));
    here.assert_clean(1);
}

#[test]
fn what_a_crash_left_is_gone_on_with_if_it_is_sound() {
    let (server, here) = (Server::start(), Here::new());
    let (_, layers) = server.image("a/b", "1", "amd64", &["one"]);
    let blob = server.memory.lock().unwrap().blobs[&("a/b".to_owned(), layers[0].to_string())].clone();
    let file = here.store.content.path.join("partial").join(format!("sha256-{}", layers[0].hex()));
    let ranges = |server: &Server| -> Vec<Option<String>> {
        let seen = server.fake.seen();
        let of_layer = seen.iter().filter(|seen| seen.target.ends_with(layers[0].as_str()));
        of_layer.map(|seen| seen.header("range").map(str::to_owned)).collect()
    };
    std::fs::write(&file, &blob[..7000]).unwrap();
    here.pull(&server.name("a/b:1")).unwrap();
    assert_eq!(ranges(&server).len(), 1);
    assert!(ranges(&server)[0].as_deref().is_some_and(|range| range.starts_with("bytes=7000-")));
    here.assert_clean(1);
    // All of it was there.
    for (content, requests) in [
        (blob.clone(), 0),
        // Nothing of it was right, or there was too much.
        (vec![b'x'; 7000], 2),
        ([blob.clone(), b"more".to_vec()].concat(), 1),
        (vec![b'x'; blob.len()], 1),
    ] {
        let here = Here::new();
        let file = here.store.content.path.join("partial").join(format!("sha256-{}", layers[0].hex()));
        std::fs::write(&file, &content).unwrap();
        let before = ranges(&server).len();
        here.pull(&server.name("a/b:1")).unwrap();
        assert_eq!(ranges(&server).len() - before, requests, "{}", content.len());
        assert_eq!(here.partial(), []);
        here.assert_clean(1);
    }
}

#[test]
fn a_lie_is_told_and_leaves_nothing() {
    let server = Server::start();
    let (_, layers) = server.image("a/b", "1", "amd64", &["one", "two"]);
    let key = ("a/b".to_owned(), layers[1].to_string());
    let good = server.memory.lock().unwrap().blobs[&key].clone();
    let mut flipped = good.clone();
    flipped[3000] ^= 1;
    for bad in
        [flipped, good[..4000].to_vec(), [good.clone(), b"more".to_vec()].concat(), vec![0; good.len()]]
    {
        let here = Here::new();
        server.memory.lock().unwrap().blobs.insert(key.clone(), bad);
        let error = here.pull(&server.name("a/b:1")).unwrap_err();
        let expected =
            [ErrorKind::DigestMismatch, ErrorKind::Network, ErrorKind::Registry].contains(&error.kind());
        assert!(expected, "{error:?}");
        here.assert_clean(0);
        assert!(
            here.partial().iter().all(|(name, _)| *name != format!("sha256-{}", layers[1].hex()))
                || error.kind() != ErrorKind::DigestMismatch
        );
        // And the next one succeeds.
        server.memory.lock().unwrap().blobs.insert(key.clone(), good.clone());
        here.pull(&server.name("a/b:1")).unwrap();
        here.assert_clean(1);
    }
    // The configuration promises another layer.
    let here = Here::new();
    let (_, other) = server.image("a/b", "2", "amd64", &["three"]);
    let manifest = String::from_utf8(server.manifest_of("a/b", "2")).unwrap();
    let size = good.len();
    let sent = server.memory.lock().unwrap().blobs[&("a/b".to_owned(), other[0].to_string())].len();
    let manifest = manifest
        .replace(other[0].as_str(), layers[1].as_str())
        .replace(&format!("\"size\":{sent}"), &format!("\"size\":{size}"));
    server.manifest("a/b", "3", media_type::MANIFEST, manifest.as_bytes());
    assert_eq!(here.pull(&server.name("a/b:3")).unwrap_err().kind(), ErrorKind::DigestMismatch);
    here.assert_clean(0);
}

#[test]
fn many_at_once_fetch_each_blob_once() {
    let (server, here) = (Server::start(), Here::new());
    let (_, layers) = server.image("a/b", "1", "amd64", &["one", "two", "three"]);
    server.image("a/b", "2", "amd64", &["one", "two", "four"]);
    let ids: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|n| {
                let (here, server) = (&here, &server);
                scope.spawn(move || here.pull(&server.name(&format!("a/b:{}", 1 + n % 2))).unwrap().id)
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    for layer in &layers {
        assert_eq!(server.lines(&format!("GET /v2/a/b/blobs/{layer}")).len(), 1, "{layer}");
    }
    assert_eq!(here.partial(), []);
    here.assert_clean(2);
}

#[test]
fn a_cancelled_pull_leaves_what_can_be_gone_on_with() {
    let (server, here) = (Server::start(), Here::new());
    let (_, layers) = server.image("a/b", "1", "amd64", &["one"]);
    let layer = layers[0].to_string();
    let blob = server.memory.lock().unwrap().blobs[&("a/b".to_owned(), layer.clone())].clone();
    let cancel = CancelToken::new();
    let (stop, bytes) = (cancel.clone(), blob.clone());
    let last = layer.clone();
    server.fault(move |seen| {
        if !seen.target.ends_with(&last) {
            return None;
        }
        // The rest never comes, and meanwhile the caller loses patience.
        if seen.header("range").is_some() {
            stop.cancel();
            return Some(Reply::hang());
        }
        Some(Reply::new(200).body(bytes.clone()).cut_after(6000))
    });
    let begin = std::time::Instant::now();
    let error = here.pull_with(&server.name("a/b:1"), &options(), &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(here.partial(), [(format!("sha256-{}", layers[0].hex()), 6000)]);
    here.assert_clean(0);
    server.fault(|_| None);
    here.pull(&server.name("a/b:1")).unwrap();
    here.assert_clean(1);
}

#[test]
fn a_pull_that_fails_keeps_every_layer_that_it_has() {
    let server = Server::start();
    let (_, layers) = server.image("a/b", "1", "amd64", &["one", "two", "three"]);
    for how in ["cancelled", "refused", "cut"] {
        let here = Here::new();
        let (cancel, last) = (CancelToken::new(), layers[2].to_string());
        let stop = cancel.clone();
        server.fault(move |seen| {
            if !seen.target.ends_with(&last) {
                return None;
            }
            match how {
                "cancelled" => {
                    stop.cancel();
                    Some(Reply::hang())
                }
                "refused" => Some(Reply::new(403)),
                _ => Some(Reply::new(200).body(vec![0; 100]).cut_after(0)),
            }
        });
        // The lowest first, one after the other.
        let one = PullOptions { jobs: Some(1), ..options() };
        here.pull_with(&server.name("a/b:1"), &one, &cancel).unwrap_err();
        here.assert_clean(0);
        assert_eq!(here.store.content.list(crate::oci::Algorithm::Sha256).unwrap(), Vec::<String>::new());
        let kept = here.partial();
        for layer in &layers[..2] {
            assert!(
                kept.iter().any(|(name, _)| *name == format!("sha256-{}", layer.hex())),
                "{how}: {kept:?}"
            );
        }
        server.fault(|_| None);
        let before = server.fake.lines().len();
        here.pull(&server.name("a/b:1")).unwrap();
        let after = server.fake.lines();
        for layer in &layers[..2] {
            assert!(!after[before..].iter().any(|line| line.ends_with(layer.as_str())), "{how}: {after:?}");
        }
        assert_eq!(here.partial(), []);
        here.assert_clean(1);
    }
}

#[test]
fn a_mirror_that_stops_in_the_middle_is_left_for_the_registry() {
    let content: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let whole = content.clone();
    let mirror = Fake::start(move |seen| match seen.header("range") {
        None => Reply::new(200).body(whole.clone()).cut_after(100_000),
        Some(_) => Reply::silent(),
    });
    let registry =
        Fake::start(move |seen| match seen.header("range").and_then(|text| text.strip_prefix("bytes=")) {
            Some(range) => {
                let from: usize = range.split('-').next().unwrap().parse().unwrap();
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                Reply::new(206).header("Content-Range", range).body(&content[from..])
            }
            None => Reply::new(200).body(content.clone()),
        });
    let mut bench = Bench::new();
    bench.options = RegistryOptions::default();
    bench.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()),
        &format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", registry.authority(), mirror.authority()),
    );
    let here = Here::new();
    let sink = |progress: &Progress| here.told.lock().unwrap().push(progress.clone());
    let reporter = Reporter::new("x", &sink);
    let blob = Blob::new(&Descriptor::new("x", digest.clone(), size), true);
    bench
        .call(&format!("{}/a/b", registry.authority()), Access::Pull, |client| {
            Halt::under(&CancelToken::never(), Deadline::never(), |halt| {
                let blobs = std::slice::from_ref(&blob);
                Fetcher::new(&here.store, client, &reporter, halt, blobs, Some(0)).one(&blob)
            })
        })
        .unwrap();
    assert!(here.store.content.has(&digest, size).unwrap());
    let asked = registry.seen();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].header("range").is_some_and(|range| range.starts_with("bytes=100000-")));
    assert!(
        bench.warnings().iter().any(|text| text.contains("is not asked any more")),
        "{:?}",
        bench.warnings()
    );
}

#[test]
fn what_a_blob_cannot_be_had_for_is_asked_as_often_as_anything() {
    let (server, here) = (Server::start(), Here::new());
    let (_, layers) = server.image("a/b", "1", "amd64", &["one"]);
    let layer = layers[0].to_string();
    server.fault(move |seen| seen.target.ends_with(&layer).then(|| Reply::new(503)));
    let once = PullOptions { registry: insecure().retries(1), ..options() };
    here.pull_with(&server.name("a/b:1"), &once, &CancelToken::never()).unwrap_err();
    assert_eq!(server.lines(layers[0].as_str()).len(), 2);
    // A registry that wants to be left alone for longer than anybody waits is.
    let layer = layers[0].to_string();
    server.fault(move |seen| {
        seen.target.ends_with(&layer).then(|| Reply::new(429).header("Retry-After", "3600"))
    });
    let error = here.pull(&server.name("a/b:1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(server.lines(layers[0].as_str()).len(), 3);
}

#[test]
fn a_full_disk_gives_its_space_back() {
    let (server, mut here) = (Server::start(), Here::new());
    server.image("a/b", "1", "amd64", &["one", "two"]);
    here.worker.fail = Some(ErrorKind::StorageFull);
    assert_eq!(here.pull(&server.name("a/b:1")).unwrap_err().kind(), ErrorKind::StorageFull);
    here.assert_clean(0);
    assert_eq!(here.partial(), []);
    here.worker.fail = None;
    here.pull(&server.name("a/b:1")).unwrap();
    here.assert_clean(1);
}

#[test]
fn platforms_of_an_index() {
    let (server, here) = (Server::start(), Here::new());
    let (amd, _) = server.image("a/b", "amd", "amd64", &["one", "amd"]);
    let (arm, _) = server.image("a/b", "arm", "arm64", &["one", "arm"]);
    let index = server.index("a/b", "1", &[("amd64", &amd), ("arm64", &arm)]);
    let name = server.name("a/b:1");
    let with = |platform: &str| PullOptions { platform: Some(platform.into()), ..options() };
    let never = CancelToken::never();
    let image = here.pull_with(&name, &with("linux/arm64"), &never).unwrap();
    assert_eq!((image.digest.as_str(), image.architecture.as_str()), (arm.as_str(), "arm64"));
    let error = here.pull_with(&name, &with("linux/s390x"), &never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidImage);
    assert!(error.to_string().contains("linux/amd64, linux/arm64"), "{error}");
    let error = here.pull_with(&server.name("a/b:amd"), &with("linux/arm64"), &never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidImage);
    let image = here.pull_with(&name, &with("linux/amd64"), &never).unwrap();
    assert_eq!(image.digest, amd.as_str());
    let find = |text: &str| here.store.db.read(|connection| images::group(connection, text, None));
    assert_eq!(find(&name).unwrap().ids.len(), 1);
    // Either is found by the digest of the index.
    assert!(find(&server.name(&format!("a/b@{index}"))).is_ok());

    here.pull_with(&name, &with("all"), &never).unwrap();
    let group = find(&name).unwrap();
    assert_eq!((group.ids.len(), group.index.unwrap().digest), (2, index.clone()));
    let before = server.fake.lines().len();
    here.pull_with(&name, &with("all"), &never).unwrap();
    here.pull_with(&name, &with("linux/amd64"), &never).unwrap();
    assert_eq!(server.fake.lines().len() - before, 2);
    assert_eq!(find(&name).unwrap().ids.len(), 2);
    here.assert_clean(2);

    // The index that lists more than was pulled is made anew, and what is in it is the same.
    let sink = |_: &Progress| {};
    let push = PushOptions { registry: insecure(), ..PushOptions::default() };
    here.name(&name, &server.name("c/d:1"));
    let pushed = push_from(here.ground(), &server.name("c/d:1"), &push, &sink, &never).unwrap();
    assert_eq!(server.manifest_of("c/d", amd.as_str()), server.manifest_of("a/b", amd.as_str()));
    assert_ne!(pushed.digest, index.as_str());
    server.manifest("c/d", "attestation", media_type::MANIFEST, b"{}");
    let pushed = push_from(here.ground(), &server.name("c/d:1"), &push, &sink, &never).unwrap();
    assert_eq!((pushed.digest.as_str(), pushed.blobs_present), (index.as_str(), 5));
    assert_eq!(server.manifest_of("c/d", "1"), server.manifest_of("a/b", "1"));
}

#[test]
fn sizes_that_nobody_has_are_no_sums() {
    let (server, here) = (Server::start(), Here::new());
    server.image("a/b", "1", "amd64", &["one", "two"]);
    let text = String::from_utf8(server.manifest_of("a/b", "1")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["size"] = (i64::MAX as u64).into();
    }
    server.manifest("a/b", "2", media_type::MANIFEST, manifest.to_string().as_bytes());
    let name = server.name("a/b:2");
    let plan = plan_for(here.ground(), &name, &options(), &|_| {}, &CancelToken::never());
    assert!(plan.is_err() || plan.unwrap().missing_bytes >= i64::MAX as u64);
    here.pull(&name).unwrap_err();
    here.assert_clean(0);
}

#[test]
fn sec_106_all_platforms_have_a_bound_together() {
    let (server, here) = (Server::start(), Here::new());
    let text = String::from_utf8({
        server.image("a/b", "1", "amd64", &["one"]);
        server.manifest_of("a/b", "1")
    })
    .unwrap();
    let digests: Vec<Digest> = (0..20)
        .map(|n| {
            let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            manifest["annotations"] = serde_json::json!({ "n": n.to_string() });
            manifest["config"]["size"] = (4 << 20).into();
            server.manifest("a/b", &format!("m{n}"), media_type::MANIFEST, manifest.to_string().as_bytes())
        })
        .collect();
    let entries: Vec<(&str, &Digest)> = digests.iter().map(|digest| ("amd64", digest)).collect();
    server.index("a/b", "big", &entries);
    let all = PullOptions { platform: Some("all".into()), ..options() };
    let error = here.pull_with(&server.name("a/b:big"), &all, &CancelToken::never()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    here.assert_clean(0);
}

#[test]
fn indexes_in_an_index_are_not_left_out_silently() {
    let (server, here) = (Server::start(), Here::new());
    let (amd, _) = server.image("a/b", "amd", "amd64", &["one"]);
    let (arm, _) = server.image("a/b", "arm", "arm64", &["one", "arm"]);
    let inner = server.index("a/b", "inner", &[("amd64", &amd)]);
    let outer = server.index("a/b", "outer", &[("amd64", &amd), ("arm64", &arm)]);
    let mut index: serde_json::Value =
        serde_json::from_slice(&server.manifest_of("a/b", outer.as_str())).unwrap();
    let size = server.manifest_of("a/b", inner.as_str()).len();
    index["manifests"].as_array_mut().unwrap().push(serde_json::json!({
        "mediaType": media_type::INDEX, "digest": inner.as_str(), "size": size,
    }));
    server.manifest("a/b", "outer", media_type::INDEX, index.to_string().as_bytes());
    let all = PullOptions { platform: Some("all".into()), ..options() };
    here.pull_with(&server.name("a/b:outer"), &all, &CancelToken::never()).unwrap();
    let told = std::mem::take(&mut *here.told.lock().unwrap());
    let warned = told.iter().find(|progress| progress.kind == ProgressKind::Warning);
    assert!(warned.is_some_and(|warned| warned.message.as_deref().unwrap().contains("left out")));
    // What is left out is not asked for again and again.
    let before = server.fake.lines().len();
    here.pull_with(&server.name("a/b:outer"), &all, &CancelToken::never()).unwrap();
    assert_eq!(server.fake.lines()[before..], ["HEAD /v2/a/b/manifests/outer"]);
}

#[test]
fn policies_and_pins() {
    let (server, here) = (Server::start(), Here::new());
    let name = server.name("a/b:1");
    let never = CancelToken::never();
    let with = |policy| PullOptions { policy, ..options() };
    let pull = |policy| here.pull_with(&name, &with(policy), &never);
    assert_eq!(pull(PullPolicy::Never).unwrap_err().kind(), ErrorKind::ImageNotFound);
    assert_eq!(server.fake.lines(), Vec::<String>::new());
    let (old, _) = server.image("a/b", "1", "amd64", &["one"]);
    let image = pull(PullPolicy::Missing).unwrap();
    let before = server.fake.lines().len();
    for policy in [PullPolicy::Missing, PullPolicy::Never] {
        assert_eq!(pull(policy).unwrap(), image);
    }
    assert_eq!(server.fake.lines().len(), before);
    assert_eq!(pull(PullPolicy::Newer).unwrap(), image);
    server.fault(|_| Some(Reply::new(404)));
    assert_eq!(pull(PullPolicy::Newer).unwrap(), image);
    assert!(here.kinds().contains(&ProgressKind::Warning));
    assert_eq!(pull(PullPolicy::Always).unwrap_err().kind(), ErrorKind::ImageNotFound);
    server.fault(|_| None);

    let lock = here.store.paths.data.with_file_name("coble.lock");
    let pin = |digest: &Digest| {
        let text = format!("version = 1\n[[image]]\nreference = \"{name}\"\ndigest = \"{digest}\"\n");
        std::fs::write(&lock, text).unwrap();
    };
    let locked = |policy| PullOptions { lock: Some(lock.clone()), ..with(policy) };
    pin(&old);
    here.pull_with(&name, &locked(PullPolicy::Always), &never).unwrap();
    here.pull_with(&name, &locked(PullPolicy::Missing), &never).unwrap();
    let (new, _) = server.image("a/b", "1", "amd64", &["two"]);
    for here in [&here, &Here::new()] {
        let error = here.pull_with(&name, &locked(PullPolicy::Always), &never).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DigestDrift);
        assert!(
            error.to_string().contains(old.as_str()) && error.to_string().contains(new.as_str()),
            "{error}"
        );
    }
    pin(&new);
    let error = here.pull_with(&name, &locked(PullPolicy::Missing), &never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestDrift);
    here.pull_with(&name, &locked(PullPolicy::Always), &never).unwrap();
    here.pull_with(&name, &locked(PullPolicy::Missing), &never).unwrap();
    // Names that are not in it are free.
    server.image("a/b", "free", "amd64", &["three"]);
    here.pull_with(&server.name("a/b:free"), &locked(PullPolicy::Always), &never).unwrap();
}

#[test]
fn what_was_pulled_is_pushed_byte_for_byte() {
    let (server, here) = (Server::start(), Here::new());
    let (digest, layers) = server.image("a/b", "1", "amd64", &["one", "two"]);
    here.pull(&server.name("a/b:1")).unwrap();
    let (there, far) = (server.name("c/d:x"), Server::start());
    let away = far.name("e/f:y");
    for name in [&there, &away] {
        here.name(&server.name("a/b:1"), name);
    }
    let sink = |_: &Progress| {};
    let never = CancelToken::never();
    let push = PushOptions { registry: insecure(), ..PushOptions::default() };
    let pushed = push_from(here.ground(), &there, &push, &sink, &never).unwrap();
    assert_eq!((pushed.digest.as_str(), pushed.blobs_mounted, pushed.blobs_sent), (digest.as_str(), 3, 0));
    assert_eq!(server.manifest_of("c/d", "x"), server.manifest_of("a/b", "1"));
    let chunked = PushOptions { chunk_size: Some(64 << 10), jobs: Some(1), ..push.clone() };
    let pushed = push_from(here.ground(), &away, &chunked, &sink, &never).unwrap();
    assert_eq!((pushed.digest.as_str(), pushed.blobs_sent), (digest.as_str(), 3));
    assert_eq!(far.manifest_of("e/f", "y"), server.manifest_of("a/b", "1"));
    let pushed = push_from(here.ground(), &away, &push, &sink, &never).unwrap();
    assert_eq!((pushed.blobs_present, pushed.bytes_sent), (3, 0));
    // What came from a registry stays as it is, whatever compression is asked for.
    let zstd = PushOptions { compression: Some("zstd".into()), ..push.clone() };
    assert_eq!(push_from(here.ground(), &away, &zstd, &sink, &never).unwrap().digest, digest.as_str());
    // What was made here has another digest with another compression, and is the same image.
    here.store.db.write(|tx| Ok(tx.execute("DELETE FROM blob_origins", [])?)).unwrap();
    let pushed = push_from(here.ground(), &away, &zstd, &sink, &never).unwrap();
    assert_ne!(pushed.digest, digest.as_str());
    let manifest = String::from_utf8(far.manifest_of("e/f", "y")).unwrap();
    assert!(manifest.contains(media_type::LAYER_ZSTD) && !manifest.contains(layers[0].as_str()));
    let other = Here::new();
    let image = other.pull(&away).unwrap();
    assert_eq!(image.id, other.pull(&away).unwrap().id);
    assert_eq!(image.id, here.pull(&server.name("a/b:1")).unwrap().id);
    other.assert_clean(1);
    here.assert_clean(1);
    assert_eq!(
        push_from(here.ground(), &server.name("no/such:1"), &push, &sink, &never).unwrap_err().kind(),
        ErrorKind::ImageNotFound
    );
}

#[test]
fn copies_go_from_registry_to_registry() {
    let (server, far, here) = (Server::start(), Server::start(), Here::new());
    let (amd, _) = server.image("a/b", "amd", "amd64", &["one", "amd"]);
    let (arm, _) = server.image("a/b", "arm", "arm64", &["one", "arm"]);
    let index = server.index("a/b", "1", &[("amd64", &amd), ("arm64", &arm)]);
    let options = CopyOptions { source: insecure(), target: insecure(), ..CopyOptions::default() };
    let sink = |_: &Progress| {};
    let copy = |from: &str, to: &str, options: &CopyOptions| {
        super::super::copy::copy_with(
            &here.store,
            &here.network,
            from,
            to,
            options,
            &sink,
            &CancelToken::never(),
        )
        .unwrap()
    };
    let copied = copy(&server.name("a/b:1"), &far.name("x/y:2"), &options);
    assert_eq!((copied.digest.as_str(), copied.blobs_sent), (index.as_str(), 5));
    assert_eq!(far.manifest_of("x/y", "2"), server.manifest_of("a/b", "1"));
    let again = copy(&server.name("a/b:1"), &far.name("x/y:3"), &options);
    assert_eq!((again.blobs_sent, again.bytes_sent), (0, 0));
    let mounted = copy(&server.name("a/b:1"), &server.name("x/y:3"), &options);
    assert_eq!((mounted.blobs_mounted, mounted.blobs_sent), (5, 0));
    let one = CopyOptions { platform: Some("linux/arm64".into()), ..options };
    assert_eq!(copy(&server.name("a/b:1"), &far.name("one:1"), &one).digest, arm.as_str());
    assert_eq!(here.store.db.read(|connection| images::summaries(connection, None)).unwrap(), []);
}
