//! Images from end to end, over a store in a temporary directory and a worker that applies archives in this process.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::oci::{Digest, media_type};
use crate::progress::{Progress, ProgressKind, Reporter};
use crate::snapshot::tests::{FakeWorker, compressed, tar};
use crate::snapshot::{self, Worker};
use crate::state::tests::{assert_private, temporary};
use crate::state::{ContainerRow, Object, Session, Store, containers, strays, verify};

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    worker: FakeWorker,
}

const NEVER: CancelToken = CancelToken::never();

impl Fixture {
    fn new() -> Fixture {
        let (dir, store) = temporary();
        Fixture { dir, store, worker: FakeWorker::default() }
    }

    fn load(&self, path: impl Into<PathBuf>) -> Result<Vec<ImageSummary>> {
        load::load(
            &self.store,
            &self.worker,
            Source::Path(path.into()),
            &LoadOptions::default(),
            &|_| {},
            &NEVER,
        )
    }

    fn load_for(&self, bytes: &[u8], platform: Option<&str>) -> Result<Vec<ImageSummary>> {
        let options = LoadOptions { platform: platform.map(str::to_owned) };
        let source = Source::Bytes(bytes.to_vec());
        load::load(&self.store, &self.worker, source, &options, &|_| {}, &NEVER)
    }

    fn load_bytes(&self, bytes: &[u8]) -> Result<Vec<ImageSummary>> {
        let path = self.dir.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        self.load(path)
    }

    fn import(&self, bytes: &[u8], reference: &str) -> Result<ImageSummary> {
        let (read, write) = rustix::pipe::pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The reader may have had enough.
                let _ = std::fs::File::from(write).write_all(bytes);
            });
            import::import_rootfs(
                (&self.store, &self.worker),
                Source::Fd(read),
                Some(reference),
                ImportOptions::default(),
                &|_| {},
                &NEVER,
            )
        })
    }

    fn remove(&self, image: &str, force: bool) -> Result<Removed> {
        remove::remove(&self.store, &self.worker, image, force)
    }

    /// The uppermost layer's tree.
    fn tree(&self, image: &str) -> PathBuf {
        let resolved = resolve(&self.store, image).unwrap();
        let names = snapshot::ensure(&self.store, &self.worker, &resolved, &NEVER).unwrap();
        self.store.paths.layers().join(&names[0])
    }

    /// Nothing is wrong, and nothing is there that should not be.
    fn assert_clean(&self, images: usize) {
        assert_eq!(verify(&self.store, &Reporter::silent(), &NEVER).unwrap(), []);
        assert_eq!(inspect::list(&self.store, &Default::default()).unwrap().len(), images);
        let count = |path: &str| std::fs::read_dir(self.store.paths.data.join(path)).unwrap().count();
        assert_eq!(count("content/ingest"), 0);
        let rows: i64 = self
            .store
            .db
            .read(|c| Ok(c.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(count("content/blobs/sha256"), rows as usize);
        let rows: i64 = self
            .store
            .db
            .read(|c| Ok(c.query_row("SELECT count(*) FROM layers", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(count("layers"), rows as usize);
        if images == 0 {
            assert_eq!((count("content/blobs/sha256"), count("layers")), (0, 0));
        }
        assert_private(&self.store.paths.data);
    }
}

/// An archive of these files, by the system's tar.
fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let output = Command::new("tar")
        .args(["-c", "--sort=name", "-C"])
        .arg(dir.path())
        .args(files.keys())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn write_files(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn config(diff_ids: &[Digest], more: Value) -> Vec<u8> {
    let mut config = json!({"architecture": crate::oci::Platform::host().architecture, "os": "linux", "created": "2020-01-02T03:04:05Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["A=1", "*", "HOME"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::to_vec(&config).unwrap()
}

/// A docker archive of one image with two layers.
fn docker() -> BTreeMap<String, Vec<u8>> {
    let layers = [tar(&[("etc/one", "1")]), tar(&[("etc/two", "2")])];
    let config = config(&layers.clone().map(|layer| Digest::of(&layer)), json!({}));
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": name, "RepoTags": ["demo:1", "localhost:5000/x/y:z"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    BTreeMap::from([
        (name, config),
        ("a/layer.tar".into(), layers[0].clone()),
        ("a/VERSION".into(), b"1.0".to_vec()),
        ("b/layer.tar".into(), layers[1].clone()),
        ("manifest.json".into(), serde_json::to_vec(&manifest).unwrap()),
    ])
}

fn blob(files: &mut BTreeMap<String, Vec<u8>>, bytes: Vec<u8>) -> (String, usize) {
    let digest = Digest::of(&bytes);
    let size = bytes.len();
    files.insert(format!("blobs/sha256/{}", digest.hex()), bytes);
    (digest.to_string(), size)
}

/// An OCI layout of one image with a plain, a gzip and a zstd layer. The function can change manifest and index.
fn layout(change: impl Fn(&mut Value, &mut Value)) -> BTreeMap<String, Vec<u8>> {
    let mut files =
        BTreeMap::from([("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]);
    let plain = ["1", "2", "3"].map(|n| tar(&[(&format!("file{n}"), n)]));
    let packed = [plain[0].clone(), compressed("gzip", &plain[1]), compressed("zstd", &plain[2])];
    let types =
        [media_type::LAYER, media_type::LAYER_GZIP, "application/vnd.docker.image.rootfs.diff.tar.zstd"];
    let layers: Vec<Value> = packed
        .into_iter()
        .zip(types)
        .map(|(bytes, media_type)| {
            let (digest, size) = blob(&mut files, bytes);
            json!({"mediaType": media_type, "digest": digest, "size": size})
        })
        .collect();
    let (digest, size) = blob(&mut files, config(&plain.map(|layer| Digest::of(&layer)), json!({})));
    let mut manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": digest, "size": size}, "layers": layers});
    let mut index = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type::MANIFEST,
        "annotations": {"org.opencontainers.image.ref.name": "example.com/app:1"}}]});
    change(&mut manifest, &mut index);
    let (digest, size) = blob(&mut files, serde_json::to_vec(&manifest).unwrap());
    for entry in index["manifests"].as_array_mut().unwrap() {
        if entry.get("digest").is_none() {
            entry["digest"] = json!(digest);
            entry["size"] = json!(size);
        }
    }
    files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
    files
}

#[test]
fn a_docker_archive_is_loaded_named_inspected_and_removed() {
    let fixture = Fixture::new();
    for bytes in
        [archive(&docker()), compressed("gzip", &archive(&docker())), compressed("zstd", &archive(&docker()))]
    {
        let images = fixture.load_bytes(&bytes).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].references, ["docker.io/library/demo:1", "localhost:5000/x/y:z"]);
        assert_eq!(images[0].created.as_deref(), Some("2020-01-02T03:04:05Z"));
        fixture.assert_clean(1);
    }
    assert_eq!(fixture.worker.applied.load(Ordering::SeqCst), 2, "each layer is unpacked once");
    let details = inspect::inspect(&fixture.store, "demo:1").unwrap();
    assert_eq!(details.layers.len(), 2);
    assert_eq!(details.config["config"]["Cmd"][0], "/bin/sh");
    assert!(fixture.tree("demo:1").join("etc/two").exists());
    let resolved = resolve(&fixture.store, &details.summary.id[7..17]).unwrap();
    assert_eq!((resolved.id.as_str(), resolved.reference), (details.summary.id.as_str(), None));
    assert_eq!(resolved.config.env, [("A".to_owned(), "1".to_owned())]);
    let history = inspect::history(&fixture.store, "demo:1").unwrap();
    assert_eq!(history.iter().map(|entry| entry.layer.is_some()).collect::<Vec<_>>(), [true, true]);

    remove::tag(&fixture.store, &fixture.worker, "demo:1", "other").unwrap();
    assert_eq!(
        resolve(&fixture.store, "other").unwrap().reference.as_deref(),
        Some("docker.io/library/other:latest")
    );
    assert_eq!(fixture.remove(&details.summary.id, false).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(fixture.remove("other", false).unwrap().deleted, Vec::<String>::new());
    remove::untag(&fixture.store, &fixture.worker, "demo:1").unwrap();
    assert_eq!(
        remove::untag(&fixture.store, &fixture.worker, "demo:1").unwrap_err().kind(),
        ErrorKind::ImageNotFound
    );
    fixture.assert_clean(1);
    let row = ContainerRow {
        id: "c".repeat(64),
        name: "web".into(),
        image_id: details.summary.id.clone(),
        ..Default::default()
    };
    containers::insert(&fixture.store.db, &row, None, &[]).unwrap();
    let error = fixture.remove("localhost:5000/x/y:z", true).unwrap_err();
    assert!(error.kind() == ErrorKind::InUse && error.to_string().contains("web"), "{error}");
    let stopped = ContainerRow { state: "exited".into(), ..row.clone() };
    containers::update(&fixture.store.db, &stopped).unwrap();
    let error = fixture.remove("localhost:5000/x/y:z", false).unwrap_err();
    assert!(error.hint().unwrap().contains("by force"), "{error}");
    let removed = fixture.remove("localhost:5000/x/y:z", true).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, 0));
    fixture.assert_clean(1);
    remove::tag(&fixture.store, &fixture.worker, &details.summary.id, "localhost:5000/x/y:z").unwrap();
    containers::delete(&fixture.store.db, &row.id, &Default::default(), 137, false).unwrap();
    let removed = fixture.remove("localhost:5000/x/y:z", false).unwrap();
    assert_eq!(removed.deleted, [details.summary.id]);
    fixture.assert_clean(0);
}

#[test]
fn docker_archives_with_links_and_without_names() {
    let fixture = Fixture::new();
    let mut files = docker();
    let dir = tempfile::tempdir().unwrap();
    let layer = files.remove("a/layer.tar").unwrap();
    let blob = format!("{}.tar", Digest::of(&layer).hex());
    files.insert(blob.clone(), layer);
    let manifest = String::from_utf8(files["manifest.json"].clone()).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let mut manifest = manifest.clone();
    manifest[0]["RepoTags"] = Value::Null;
    files.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
    write_files(dir.path(), &files);
    std::os::unix::fs::symlink(format!("../{blob}"), dir.path().join("a/layer.tar")).unwrap();
    let output = Command::new("tar").args(["-c", "-C"]).arg(dir.path()).arg(".").output().unwrap();
    let images = fixture.load_bytes(&output.stdout).unwrap();
    assert_eq!(images[0].references, Vec::<String>::new());
    fixture.assert_clean(1);
    fixture.remove(&images[0].id, false).unwrap();
    fixture.assert_clean(0);
}

#[test]
fn bad_docker_archives_leave_nothing() {
    let fixture = Fixture::new();
    type Files = BTreeMap<String, Vec<u8>>;
    let changed = |change: &dyn Fn(&mut Files)| {
        let mut files = docker();
        change(&mut files);
        archive(&files)
    };
    let manifest = |value: Value| {
        changed(&move |files| {
            files.insert("manifest.json".into(), serde_json::to_vec(&value).unwrap());
        })
    };
    let config_name =
        docker().keys().find(|name| name.ends_with(".json") && name.len() > 60).unwrap().clone();
    let whole = archive(&docker());
    let cases: Vec<(&str, Vec<u8>, ErrorKind)> = vec![
        ("empty", Vec::new(), ErrorKind::InvalidArchive),
        ("truncated", whole[..whole.len() / 2].to_vec(), ErrorKind::InvalidArchive),
        ("truncated gzip", compressed("gzip", &whole)[..500].to_vec(), ErrorKind::InvalidArchive),
        ("text", b"hello\n".repeat(200), ErrorKind::InvalidArchive),
        (
            "no manifest",
            changed(&|files| {
                files.remove("manifest.json");
            }),
            ErrorKind::InvalidArchive,
        ),
        (
            "legacy",
            changed(&|files| {
                let m = files.remove("manifest.json").unwrap();
                files.insert("repositories".into(), m);
            }),
            ErrorKind::InvalidArchive,
        ),
        (
            "no config",
            changed(&|files| {
                files.remove(&config_name);
            }),
            ErrorKind::InvalidArchive,
        ),
        (
            "no layer",
            changed(&|files| {
                files.remove("b/layer.tar");
            }),
            ErrorKind::InvalidArchive,
        ),
        (
            "wrong layer",
            changed(&|files| {
                files.insert("b/layer.tar".into(), tar(&[("x", "y")]));
            }),
            ErrorKind::DigestMismatch,
        ),
        (
            "wrong id",
            changed(&|files| {
                files.insert(config_name.clone(), config(&[], json!({})));
            }),
            ErrorKind::DigestMismatch,
        ),
        ("null", manifest(Value::Null), ErrorKind::InvalidImage),
        ("nothing", manifest(json!([])), ErrorKind::InvalidArchive),
        ("null item", manifest(json!([null])), ErrorKind::InvalidImage),
        (
            "outside",
            manifest(json!([{"Config": "../../etc/passwd", "Layers": []}])),
            ErrorKind::InvalidArchive,
        ),
        (
            "few layers",
            manifest(json!([{"Config": config_name, "Layers": ["a/layer.tar"]}])),
            ErrorKind::InvalidImage,
        ),
        (
            "bad name",
            manifest(
                json!([{"Config": config_name, "RepoTags": ["UPPER"], "Layers": ["a/layer.tar", "b/layer.tar"]}]),
            ),
            ErrorKind::InvalidReference,
        ),
        (
            "one of two",
            manifest(json!([
            {"Config": config_name, "RepoTags": ["good"], "Layers": ["a/layer.tar", "b/layer.tar"]},
            {"Config": "missing.json", "Layers": []}])),
            ErrorKind::InvalidArchive,
        ),
    ];
    for (what, bytes, kind) in cases {
        let error = fixture.load_bytes(&bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        fixture.assert_clean(0);
    }
    // Two contents of one name.
    let dir = tempfile::tempdir().unwrap();
    let mut other = docker();
    other.insert("a/layer.tar".into(), tar(&[("z", "z")]));
    for (name, files) in [("x", docker()), ("y", other)] {
        write_files(&dir.path().join(name), &files);
    }
    let output = Command::new("tar")
        .args(["-c", "-C", "x", ".", "-C", "../y", "a/layer.tar"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(fixture.load_bytes(&output.stdout).unwrap_err().kind(), ErrorKind::InvalidArchive);
    fixture.assert_clean(0);
}

#[test]
fn an_oci_layout_is_loaded_from_a_directory_and_from_a_tar() {
    let fixture = Fixture::new();
    let files = layout(|_, _| {});
    let dir = fixture.dir.path().join("layout");
    write_files(&dir, &files);
    let from_dir = fixture.load(&dir).unwrap();
    assert_eq!(from_dir[0].references, ["example.com/app:1"]);
    assert_eq!(fixture.load_bytes(&archive(&files)).unwrap(), from_dir);
    fixture.assert_clean(1);
    assert_eq!(fixture.worker.applied.load(Ordering::SeqCst), 3);
    let details = inspect::inspect(&fixture.store, "example.com/app:1").unwrap();
    let resolved = resolve(&fixture.store, &format!("example.com/app@{}", details.summary.digest)).unwrap();
    assert_eq!(resolved.id, details.summary.id);
    assert_eq!(
        resolve(&fixture.store, &format!("app@{}", details.summary.digest)).unwrap_err().kind(),
        ErrorKind::ImageNotFound
    );
    // What was stored is a layout that can be loaded again.
    let other = Fixture::new();
    let again = other.load(&fixture.store.content.path).unwrap();
    assert_eq!(
        (again[0].id.as_str(), again[0].digest.as_str()),
        (details.summary.id.as_str(), details.summary.digest.as_str())
    );
    other.assert_clean(1);
}

#[test]
fn the_platform_of_the_host_is_chosen_from_an_index() {
    let host = crate::oci::Platform::host();
    let nested = |platform: Value| {
        let mut files = layout(|_, _| {});
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let mut manifest = index["manifests"][0].clone();
        manifest["platform"] = platform;
        let foreign = json!({"mediaType": media_type::MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2,
            "platform": {"architecture": "mips128", "os": "linux"}});
        let attestation = json!({"mediaType": media_type::MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2,
            "platform": {"architecture": "unknown", "os": "unknown"}});
        let inner = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [foreign, attestation, manifest]});
        let (digest, size) = blob(&mut files, serde_json::to_vec(&inner).unwrap());
        let outer = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type::INDEX, "digest": digest, "size": size,
            "annotations": {"io.containerd.image.name": "docker.io/library/multi:1", "org.opencontainers.image.ref.name": "1"}}]});
        files.insert("index.json".into(), serde_json::to_vec(&outer).unwrap());
        archive(&files)
    };
    let fixture = Fixture::new();
    let images =
        fixture.load_bytes(&nested(json!({"architecture": host.architecture, "os": "linux"}))).unwrap();
    assert_eq!(images[0].references, ["docker.io/library/multi:1"]);
    fixture.assert_clean(1);
    let fixture = Fixture::new();
    let error = fixture.load_bytes(&nested(json!({"architecture": "sparc", "os": "solaris"}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidImage);
    assert!(error.to_string().contains("linux/mips128, solaris/sparc"), "{error}");
    fixture.assert_clean(0);
}

/// An OCI layout of one name for several platforms. Without `declared` the index says nothing of platforms, and is the layout's own.
fn platforms(architectures: &[&str], declared: bool) -> BTreeMap<String, Vec<u8>> {
    let mut files =
        BTreeMap::from([("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]);
    let mut entries = Vec::new();
    for architecture in architectures {
        let layer = tar(&[("which", architecture)]);
        let diff_id = Digest::of(&layer);
        let (layer, layer_size) = blob(&mut files, layer);
        let (id, size) = blob(&mut files, config(&[diff_id], json!({"architecture": architecture})));
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": {"mediaType": media_type::CONFIG, "digest": id, "size": size},
            "layers": [{"mediaType": media_type::LAYER, "digest": layer, "size": layer_size}]});
        let (digest, size) = blob(&mut files, serde_json::to_vec(&manifest).unwrap());
        let mut entry = json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": size});
        if declared {
            entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        } else {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": format!("{architecture}:1")});
        }
        entries.push(entry);
    }
    let mut index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    if declared {
        let (digest, size) = blob(&mut files, serde_json::to_vec(&index).unwrap());
        index = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type::INDEX, "digest": digest, "size": size,
            "annotations": {"org.opencontainers.image.ref.name": "multi:1"}}]});
    }
    files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
    files
}

fn codes(image: &ImageSummary) -> Vec<&str> {
    image.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

const MULTI: &str = "docker.io/library/multi:1";

#[test]
fn a_docker_archive_has_one_image_for_a_name() {
    let host = crate::oci::Platform::host().architecture;
    let fixture = Fixture::new();
    fixture.load_for(&archive(&platforms(&["mips", &host, "s390x"], true)), Some("all")).unwrap();
    let wanted = inspect::get(&fixture.store, "multi:1", None).unwrap();
    assert_eq!(wanted.architecture, host);
    let path = fixture.dir.path().join("saved.tar");
    let save = |fixture: &Fixture, platform: Option<&str>| {
        let options =
            SaveOptions { format: SaveFormat::DockerArchive, platform: platform.map(str::to_owned) };
        save::save(
            &fixture.store,
            &fixture.worker,
            (&["multi:1"], Sink::Path(path.clone())),
            &options,
            &|_| {},
            &NEVER,
        )
    };
    save(&fixture, None).unwrap();
    let other = Fixture::new();
    let loaded = other.load(&path).unwrap();
    assert_eq!(loaded.iter().map(|image| &image.id).collect::<Vec<_>>(), [&wanted.id]);
    assert_eq!((loaded[0].references.as_slice(), codes(&loaded[0])), ([MULTI.to_owned()].as_slice(), vec![]));
    save(&fixture, Some("linux/s390x")).unwrap();
    let loaded = other.load(&path).unwrap();
    assert_eq!((loaded[0].architecture.as_str(), loaded.len()), ("s390x", 1));
    assert_eq!(codes(&loaded[0]), ["foreign-platform"]);
    // Who asks for all of them, or has none for this host, is told.
    let error = save(&fixture, Some("all")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("linux/s390x") && error.hint().is_some(), "{error}");
    let fixture = Fixture::new();
    fixture.load_for(&archive(&platforms(&["mips", "s390x"], true)), Some("all")).unwrap();
    assert_eq!(save(&fixture, None).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn what_other_tools_wrote_into_a_layout_stays_as_it_is() {
    let fixture = Fixture::new();
    fixture.load_bytes(&archive(&docker())).unwrap();
    let dir = fixture.dir.path().join("layout");
    let mut files = platforms(&["s390x"], false);
    let mut index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    index["annotations"] = json!({"by": "another tool"});
    let entry = &mut index["manifests"][0];
    entry["platform"] =
        json!({"architecture": "s390x", "os": "linux", "os.features": ["x"], "features": ["y"]});
    entry["artifactType"] = json!("application/vnd.example+type");
    entry["urls"] = json!(["https://example.com/manifest"]);
    entry["vendor"] = json!({"number": 3, "list": [null, true]});
    files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
    write_files(&dir, &files);
    let options = SaveOptions { format: SaveFormat::OciDirectory, platform: None };
    let save = || {
        let sink = Sink::Path(dir.clone());
        save::save(&fixture.store, &fixture.worker, (&["demo:1"], sink), &options, &|_| {}, &NEVER).unwrap();
        serde_json::from_slice::<Value>(&std::fs::read(dir.join("index.json")).unwrap()).unwrap()
    };
    let mut written = save();
    assert_eq!(written["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(save(), written, "what is saved again takes its own place");
    assert!(written["manifests"].as_array_mut().unwrap().pop().is_some());
    assert_eq!(written, index);
}

#[test]
fn versions_and_features_of_systems_are_kept() {
    let fixture = Fixture::new();
    let platform = json!({"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.1", "os.features": ["win32k"]});
    let mut files = docker();
    let name = files.keys().find(|name| name.ends_with(".json") && name.len() > 60).unwrap().clone();
    let mut config: Value = serde_json::from_slice(&files.remove(&name).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(platform.as_object().unwrap().clone());
    files.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    let manifest = String::from_utf8(files["manifest.json"].clone()).unwrap().replace(&name, "config.json");
    files.insert("manifest.json".into(), manifest.into_bytes());
    let loaded = fixture.load_for(&archive(&files), Some("windows(10.0.17763+win32k)/amd64")).unwrap();
    assert_eq!(loaded[0].os_version.as_deref(), Some("10.0.17763.1"));
    assert_eq!(loaded[0].os_features, ["win32k"]);
    let error = fixture.load_for(&archive(&files), Some("windows/amd64")).unwrap_err();
    assert!(error.to_string().contains("only for windows(10.0.17763.1+win32k)/amd64"), "{error}");
    let dir = fixture.dir.path().join("layout");
    let options = SaveOptions { format: SaveFormat::OciDirectory, platform: None };
    let sink = Sink::Path(dir.clone());
    save::save(&fixture.store, &fixture.worker, (&["demo:1"], sink), &options, &|_| {}, &NEVER).unwrap();
    for index in [dir.join("index.json"), fixture.store.content.path.join("index.json")] {
        let index: Value = serde_json::from_slice(&std::fs::read(index).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["platform"], platform);
    }
}

#[test]
fn what_a_descriptor_has_in_itself_need_not_be_beside_it() {
    use base64::Engine as _;
    let whole = platforms(&[&crate::oci::Platform::host().architecture], false);
    let index: Value = serde_json::from_slice(&whole["index.json"]).unwrap();
    let name = |descriptor: &Value| {
        format!("blobs/sha256/{}", descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap())
    };
    let text = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    for good in [true, false] {
        let mut files = whole.clone();
        let old = files.remove(&name(&index["manifests"][0])).unwrap();
        let mut manifest: Value = serde_json::from_slice(&old).unwrap();
        let config = files.remove(&name(&manifest["config"])).unwrap();
        manifest["config"]["data"] = json!(text(&config));
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut index = index.clone();
        index["manifests"][0]["digest"] = json!(Digest::of(&manifest));
        index["manifests"][0]["size"] = json!(manifest.len());
        index["manifests"][0]["data"] = json!(text(if good { &manifest } else { &old }));
        files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
        let fixture = Fixture::new();
        let loaded = fixture.load_bytes(&archive(&files));
        if good {
            assert_eq!(loaded.unwrap()[0].id, Digest::of(&config).as_str());
        } else {
            assert_eq!(loaded.unwrap_err().kind(), ErrorKind::InvalidArchive);
        }
        fixture.assert_clean(usize::from(good));
    }
}

#[test]
fn a_docker_archive_with_several_images_of_one_name_gives_it_to_the_one_that_fits() {
    let host = crate::oci::Platform::host().architecture;
    let mut files = BTreeMap::new();
    let mut items = Vec::new();
    for architecture in [host.as_str(), "s390x"] {
        let layer = tar(&[("which", architecture)]);
        let name = format!("{architecture}.json");
        let config = config(&[Digest::of(&layer)], json!({"architecture": architecture}));
        files.insert(name.clone(), config);
        files.insert(format!("{architecture}.layer"), layer);
        items.push(
            json!({"Config": name, "RepoTags": ["multi:1"], "Layers": [format!("{architecture}.layer")]}),
        );
    }
    files.insert("manifest.json".into(), serde_json::to_vec(&items).unwrap());
    let bytes = archive(&files);
    for (platform, named, all) in [
        (None, host.as_str(), 1),
        (Some(host.as_str()), host.as_str(), 1),
        (Some("s390x"), "s390x", 1),
        // As docker has it: the last.
        (Some("all"), "s390x", 2),
    ] {
        let fixture = Fixture::new();
        let loaded = fixture.load_for(&bytes, platform).unwrap();
        assert_eq!(loaded.len(), all, "{platform:?}");
        assert_eq!(
            inspect::get(&fixture.store, "multi:1", None).unwrap().architecture,
            named,
            "{platform:?}"
        );
        assert!(loaded.iter().all(|image| codes(image).is_empty()), "{loaded:?}");
        fixture.assert_clean(all);
    }
}

#[test]
fn the_configuration_says_for_what_an_image_is() {
    let host = crate::oci::Platform::host().architecture;
    let foreign = platforms(&["s390x"], false);
    // An index that says something else than the configuration.
    let mut lying = foreign.clone();
    let mut index: Value = serde_json::from_slice(&lying["index.json"]).unwrap();
    index["manifests"][0]["platform"] = json!({"architecture": host, "os": "linux"});
    lying.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
    let mut docker = docker();
    let name = docker.keys().find(|name| name.ends_with(".json") && name.len() > 60).unwrap().clone();
    let mut config: Value = serde_json::from_slice(&docker.remove(&name).unwrap()).unwrap();
    config["architecture"] = json!("s390x");
    docker.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    let manifest = String::from_utf8(docker["manifest.json"].clone()).unwrap().replace(&name, "config.json");
    docker.insert("manifest.json".into(), manifest.into_bytes());
    for (what, files) in [("undeclared", &foreign), ("lying", &lying), ("docker", &docker)] {
        let fixture = Fixture::new();
        let error = fixture.load_for(&archive(files), Some(&format!("linux/{host}"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidImage, "{what}: {error}");
        assert!(error.to_string().contains("only for linux/s390x"), "{what}: {error}");
        fixture.assert_clean(0);
        let loaded = fixture.load_for(&archive(files), None).unwrap();
        assert_eq!(codes(&loaded[0]), ["foreign-platform"], "{what}");
        assert!(loaded[0].warnings[0].message.contains("linux/s390x"), "{what}: {:?}", loaded[0].warnings);
        for asked in ["linux/s390x", "all"].into_iter().skip(usize::from(what == "lying")) {
            assert_eq!(codes(&fixture.load_for(&archive(files), Some(asked)).unwrap()[0]), [""; 0], "{what}");
        }
        fixture.assert_clean(1);
    }
    // Of several, the one that was asked for comes in.
    let fixture = Fixture::new();
    let loaded = fixture.load_for(&archive(&platforms(&[&host, "s390x"], false)), Some("s390x")).unwrap();
    assert_eq!(loaded.iter().map(|image| image.architecture.as_str()).collect::<Vec<_>>(), ["s390x"]);
}

#[test]
fn bad_layouts_leave_nothing() {
    let fixture = Fixture::new();
    type Change = fn(&mut Value, &mut Value);
    let cases: [(&str, Change, ErrorKind); 9] = [
        ("both kinds", |manifest, _| manifest["manifests"] = json!([]), ErrorKind::InvalidImage),
        (
            "wrong type",
            |_, index| index["manifests"][0]["mediaType"] = json!(media_type::INDEX),
            ErrorKind::InvalidImage,
        ),
        (
            "encrypted",
            |manifest, _| {
                manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+encrypted")
            },
            ErrorKind::InvalidImage,
        ),
        ("wrong size", |manifest, _| manifest["layers"][0]["size"] = json!(1), ErrorKind::DigestMismatch),
        (
            "huge config",
            |manifest, _| manifest["config"]["size"] = json!(1u64 << 40),
            ErrorKind::LimitExceeded,
        ),
        (
            "missing layer",
            |manifest, _| manifest["layers"][1]["digest"] = json!(format!("sha256:{}", "a".repeat(64))),
            ErrorKind::InvalidArchive,
        ),
        (
            "path for a digest",
            |manifest, _| manifest["layers"][1]["digest"] = json!("sha256:../../../etc/passwd"),
            ErrorKind::InvalidImage,
        ),
        (
            "one layer less",
            |manifest, _| {
                manifest["layers"].as_array_mut().unwrap().pop();
            },
            ErrorKind::InvalidImage,
        ),
        (
            "swapped layers",
            |manifest, _| manifest["layers"].as_array_mut().unwrap().swap(0, 2),
            ErrorKind::DigestMismatch,
        ),
    ];
    for (what, change, kind) in cases {
        let files = layout(change);
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), &files);
        for result in [fixture.load(dir.path()), fixture.load_bytes(&archive(&files))] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{what}: {error}");
            fixture.assert_clean(0);
        }
    }
    // A blob with other content than its name says, and a chain of indexes.
    let mut files = layout(|_, _| {});
    let path = files
        .keys()
        .find(|path| path.starts_with("blobs/") && files[*path].starts_with(&[0x1f, 0x8b]))
        .unwrap()
        .clone();
    files.get_mut(&path).unwrap()[30] ^= 1;
    assert_eq!(fixture.load_bytes(&archive(&files)).unwrap_err().kind(), ErrorKind::DigestMismatch);
    let mut files = layout(|_, _| {});
    for _ in 0..10 {
        let inner = files["index.json"].clone();
        let inner = String::from_utf8(inner).unwrap().replacen(
            '{',
            &format!("{{\"mediaType\":\"{}\",", media_type::INDEX),
            1,
        );
        let (digest, size) = blob(&mut files, inner.into_bytes());
        let outer = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type::INDEX, "digest": digest, "size": size}]});
        files.insert("index.json".into(), serde_json::to_vec(&outer).unwrap());
    }
    assert_eq!(fixture.load_bytes(&archive(&files)).unwrap_err().kind(), ErrorKind::LimitExceeded);
    fixture.assert_clean(0);
}

#[test]
fn layouts_with_links_and_devices_read_nothing_of_the_host() {
    let fixture = Fixture::new();
    let files = layout(|_, _| {});
    for victim in files.keys() {
        let dir = tempfile::tempdir().unwrap();
        write_files(&dir.path().join("real"), &files);
        write_files(&dir.path().join("layout"), &files);
        let path = dir.path().join("layout").join(victim);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real").join(victim), &path).unwrap();
        let error = fixture.load(dir.path().join("layout")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArchive, "{victim}: {error}");
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert_eq!(
            fixture.load(dir.path().join("layout")).unwrap_err().kind(),
            ErrorKind::InvalidArchive,
            "{victim}"
        );
        fixture.assert_clean(0);
    }
}

#[test]
fn odd_histories_are_shown() {
    for (history, expected) in [
        (json!({"history": null}), vec![(false, true); 2]),
        (json!({"history": []}), vec![(false, true); 2]),
        (
            json!({"history": [{"created_by": "a", "empty_layer": true}, {"created_by": "b"}]}),
            vec![(false, true), (false, true), (true, false)],
        ),
        (
            json!({"history": [{}, {}, {}, {"comment": null}]}),
            vec![(true, false), (true, false), (false, true), (false, true)],
        ),
    ] {
        let fixture = Fixture::new();
        let mut files = docker();
        let old = files.keys().find(|name| name.ends_with(".json") && name.len() > 60).unwrap().clone();
        files.remove(&old);
        let diff_ids = ["a/layer.tar", "b/layer.tar"].map(|path| Digest::of(&files[path]));
        files.insert("config.json".into(), config(&diff_ids, history));
        let manifest =
            json!([{"Config": "config.json", "RepoTags": ["odd"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
        files.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
        fixture.load_bytes(&archive(&files)).unwrap();
        let entries = inspect::history(&fixture.store, "odd").unwrap();
        assert_eq!(
            entries.iter().map(|entry| (entry.empty_layer, entry.layer.is_some())).collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn a_root_file_system_is_imported_from_a_pipe_in_every_compression() {
    let fixture = Fixture::new();
    let plain = tar(&[("etc/os-release", "ID=test"), ("bin/x", "x")]);
    let diff_id = Digest::of(&plain).to_string();
    for (program, media_type) in [
        ("cat", media_type::LAYER),
        ("gzip", media_type::LAYER_GZIP),
        ("zstd", media_type::LAYER_ZSTD),
        ("bzip2", media_type::LAYER),
        ("xz", media_type::LAYER),
    ] {
        let bytes = if program == "cat" { plain.clone() } else { compressed(program, &plain) };
        let summary = fixture.import(&bytes, "rootfs").unwrap();
        assert_eq!(summary.references, ["docker.io/library/rootfs:latest"]);
        let details = inspect::inspect(&fixture.store, "rootfs").unwrap();
        assert_eq!(
            (details.layers[0].diff_id.as_str(), details.layers[0].media_type.as_str()),
            (diff_id.as_str(), media_type),
            "{program}"
        );
        assert!(fixture.tree("rootfs").join("etc/os-release").exists());
    }
    assert_eq!(
        inspect::list(&fixture.store, &Default::default())
            .unwrap()
            .iter()
            .filter(|image| !image.references.is_empty())
            .count(),
        1
    );
    for (bytes, kind) in [
        (Vec::new(), ErrorKind::InvalidArchive),
        (compressed("xz", &plain)[..60].to_vec(), ErrorKind::InvalidArchive),
    ] {
        let images = inspect::list(&fixture.store, &Default::default()).unwrap().len();
        let error = fixture.import(&bytes, "bad").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        fixture.assert_clean(images);
    }
    assert_eq!(fixture.import(&plain, "BAD NAME").unwrap_err().kind(), ErrorKind::InvalidReference);
    let error = import::import_rootfs(
        (&fixture.store, &fixture.worker),
        Source::Path(fixture.dir.path().into()),
        Some("x"),
        ImportOptions::default(),
        &|_| {},
        &NEVER,
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let options = ImportOptions { environment: vec![("A=B".into(), "c".into())], ..ImportOptions::default() };
    let error = import::import_rootfs(
        (&fixture.store, &fixture.worker),
        Source::Path("/nowhere".into()),
        Some("x"),
        options,
        &|_| {},
        &NEVER,
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn urls_are_not_fetched_and_passwords_in_them_not_shown() {
    for url in ["https://me:canary@example.com/rootfs.tar", "HTTP://example.com/x", "ftp://example.com/x"] {
        let error = source::open_stream(Source::Path(url.into()), &NEVER).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}");
        let said = format!("{error:?} {error} {}", error.hint().unwrap());
        assert!(
            said.contains("URL") && said.contains("fetch it first") && !said.contains("canary"),
            "{said}"
        );
    }
    let missing = source::open_stream(Source::Path("file://x".into()), &NEVER).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::PathNotFound);
}

#[test]
fn cancelling_ends_a_wait_for_a_pipe_and_leaves_nothing() {
    let fixture = Fixture::new();
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            import::import_rootfs(
                (&fixture.store, &fixture.worker),
                Source::Fd(read),
                Some("x"),
                ImportOptions::default(),
                &|_| {},
                &cancel,
            )
        });
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    fixture.assert_clean(0);
}

/// The events of a call that loads an archive, and what the call came to.
fn heard(
    fixture: &Fixture,
    path: &Path,
    cancel: &CancelToken,
    hear: impl Fn(&Progress) + Sync,
) -> (Vec<Progress>, Result<Vec<ImageSummary>>) {
    let told = std::sync::Mutex::new(Vec::new());
    let sink = |progress: &Progress| {
        told.lock().unwrap().push(progress.clone());
        hear(progress);
    };
    let (source, options) = (Source::Path(path.to_owned()), LoadOptions::default());
    let loaded = load::load(&fixture.store, &fixture.worker, source, &options, &sink, cancel);
    (told.into_inner().unwrap(), loaded)
}

#[test]
fn a_load_and_a_save_tell_how_far_they_are() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("archive");
    let bytes = archive(&docker());
    std::fs::write(&path, &bytes).unwrap();
    let (told, loaded) = heard(&fixture, &path, &NEVER, |_| {});
    let (size, id) = (bytes.len() as u64, loaded.unwrap().pop().unwrap().id);
    let layers = fixture.store.db.read(|c| crate::state::images::layers(c, &id)).unwrap();
    let of = |told: &[Progress], kind: ProgressKind| -> Vec<Progress> {
        told.iter().filter(|progress| progress.kind == kind).cloned().collect()
    };
    let read = of(&told, ProgressKind::Read);
    let (first, last) = (read.first().unwrap(), read.last().unwrap());
    assert_eq!((first.current, first.total, first.digest.as_deref()), (0, size, None));
    assert_eq!((last.overall_current, last.overall_total), (size, size));
    assert_eq!(told.first().unwrap().reference, path.to_str().unwrap());
    for kind in [ProgressKind::Unpack, ProgressKind::UnpackDone] {
        let mut digests: Vec<_> =
            of(&told, kind).into_iter().map(|progress| progress.digest.unwrap()).collect();
        let mut wanted: Vec<_> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        digests.sort();
        wanted.sort();
        assert_eq!(digests, wanted);
    }
    assert_eq!(told.iter().position(|progress| progress.kind == ProgressKind::Done), Some(told.len() - 1));

    let formats = [SaveFormat::OciArchive, SaveFormat::OciDirectory, SaveFormat::DockerArchive];
    for (format, again) in formats.into_iter().flat_map(|format| [(format, false), (format, true)]) {
        let told = std::sync::Mutex::new(Vec::new());
        let sink = |progress: &Progress| told.lock().unwrap().push(progress.clone());
        let to = Sink::Path(fixture.dir.path().join(format!("{format:?}")));
        let options = SaveOptions { format, ..SaveOptions::default() };
        save::save(&fixture.store, &fixture.worker, (&[&id], to), &options, &sink, &NEVER).unwrap();
        let told = told.into_inner().unwrap();
        let total: u64 = layers.iter().map(|layer| layer.size).sum();
        let end = told.last().unwrap();
        assert_eq!((end.kind, end.overall_current, end.overall_total), (ProgressKind::Done, total, total));
        // A directory keeps what it has.
        let there = again && format == SaveFormat::OciDirectory;
        let kind = if there { ProgressKind::BlobCached } else { ProgressKind::BlobDone };
        assert_eq!(of(&told, kind).len(), layers.len(), "{format:?}");
    }
    // The blobs of a directory come one by one.
    let other = Fixture::new();
    let (told, loaded) = heard(&other, &fixture.dir.path().join("OciDirectory"), &NEVER, |_| {});
    loaded.unwrap();
    assert_eq!(of(&told, ProgressKind::BlobDone).len(), layers.len());
    assert_eq!(of(&told, ProgressKind::UnpackDone).len(), layers.len());
}

#[test]
fn who_hears_of_progress_can_end_the_call() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("archive");
    std::fs::write(&path, archive(&docker())).unwrap();
    for kind in [ProgressKind::Read, ProgressKind::Unpack] {
        let cancel = CancelToken::new();
        let hear = |progress: &Progress| {
            if progress.kind == kind {
                cancel.cancel();
            }
        };
        let (told, loaded) = heard(&fixture, &path, &cancel, hear);
        assert_eq!(loaded.unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(told.iter().all(|progress| progress.kind != ProgressKind::Done));
        fixture.assert_clean(0);
    }
    // In Rust it may also panic; nobody waits for what does not come then.
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        heard(&fixture, &path, &NEVER, |progress| {
            if progress.kind == ProgressKind::Unpack {
                std::panic::resume_unwind(Box::new("the caller's"));
            }
        })
    }));
    assert!(panic.is_err());

    let id = fixture.load(&path).unwrap().pop().unwrap().id;
    let cancel = CancelToken::new();
    let to = fixture.dir.path().join("saved");
    let options = SaveOptions::default();
    let sink = (&[id.as_str()][..], Sink::Path(to.clone()));
    let saved = save::save(&fixture.store, &fixture.worker, sink, &options, &|_| cancel.cancel(), &cancel);
    assert_eq!(saved.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!to.exists());
    let cancel = CancelToken::new();
    let sink = |_: &Progress| cancel.cancel();
    let checked = verify(&fixture.store, &Reporter::new("", &sink), &cancel);
    assert_eq!(checked.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_failing_worker_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.worker.fail = Some(ErrorKind::StorageFull);
    assert_eq!(fixture.load_bytes(&archive(&docker())).unwrap_err().kind(), ErrorKind::StorageFull);
    fixture.assert_clean(0);
}

#[test]
fn another_id_map_gets_trees_of_its_own() {
    let fixture = Fixture::new();
    fixture.load_bytes(&archive(&docker())).unwrap();
    let mapped = Store::open(&fixture.store.paths.data, "single:1000:1000".into()).unwrap();
    let resolved = resolve(&mapped, "demo:1").unwrap();
    let ours = snapshot::ensure(&fixture.store, &fixture.worker, &resolved, &NEVER).unwrap();
    let theirs = snapshot::ensure(&mapped, &fixture.worker, &resolved, &NEVER).unwrap();
    assert!(ours.iter().all(|name| !theirs.contains(name)));
    assert_eq!(snapshot::ensure(&mapped, &fixture.worker, &resolved, &NEVER).unwrap(), theirs);
    assert_eq!(fixture.worker.applied.load(Ordering::SeqCst), 4);
    fixture.assert_clean(1);
    fixture.remove("demo:1", false).unwrap();
    fixture.remove("localhost:5000/x/y:z", false).unwrap();
    fixture.assert_clean(0);
}

#[test]
fn many_threads_load_and_remove_the_same_image() {
    let fixture = Fixture::new();
    let bytes = archive(&docker());
    let path = fixture.dir.path().join("same");
    std::fs::write(&path, bytes).unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (fixture, path) = (&fixture, &path);
            scope.spawn(move || {
                for _ in 0..4 {
                    if n % 2 == 0 {
                        let images = fixture.load(path).unwrap();
                        assert_eq!(images.len(), 1);
                    } else {
                        match fixture.remove("demo:1", true).map_err(|error| error.kind()) {
                            Ok(_) | Err(ErrorKind::ImageNotFound) => {}
                            Err(kind) => panic!("{kind:?}"),
                        }
                    }
                }
            });
        }
    });
    let images = inspect::list(&fixture.store, &Default::default()).unwrap().len();
    fixture.assert_clean(images);
}

#[test]
fn what_belongs_to_nothing_is_told_when_nobody_is_at_work() {
    let fixture = Fixture::new();
    fixture.load_bytes(&archive(&docker())).unwrap();
    let store = &fixture.store;
    let data = &store.paths.data;
    let blob = format!("content/blobs/sha256/{}", "0".repeat(64));
    std::fs::write(data.join(&blob), "x").unwrap();
    std::fs::create_dir_all(data.join("layers/4711/fs")).unwrap();
    let told = |own: Option<&Session>| -> Vec<Object> {
        strays(store, own, None, &NEVER).unwrap().into_iter().map(|flaw| flaw.about).collect()
    };
    let all = [Object::Stray(blob), Object::Stray("layers/4711".into())];
    assert_eq!(told(None), all);
    // It may be about to get its row, unless that is our own business.
    let (other, dir) = (data.join("content/ingest/0123456789abcdef"), data.join("content/ingest"));
    Session::run(store, &fixture.worker, &NEVER, |session| {
        assert_eq!(told(None), []);
        assert_eq!(told(Some(session)), all);
        Ok(())
    })
    .unwrap();
    // Of one who died at it the next sweep takes care.
    std::fs::create_dir(other).unwrap();
    assert_eq!(told(None), []);
    Session::run(store, &fixture.worker, &NEVER, |_| Ok(())).unwrap();
    assert_eq!((told(None), std::fs::read_dir(dir).unwrap().count()), (vec![], 0));
    // Whoever mends takes nothing else.
    std::fs::create_dir_all(data.join("layers/4711/fs")).unwrap();
    assert_eq!(strays(store, None, Some(&fixture.worker), &NEVER).unwrap().len(), 1);
    fixture.assert_clean(1);
}

#[test]
fn a_session_without_its_end_is_cleaned_by_the_next_one() {
    struct Broken;
    impl Worker for Broken {
        fn apply(
            &self,
            _: crate::snapshot::Application<'_>,
            _: &CancelToken,
        ) -> Result<coble_protocol::ArchiveDone> {
            Err(Error::new(ErrorKind::MonitorLost, "gone"))
        }
        fn remove(&self, _: std::os::fd::BorrowedFd<'_>, _: &[&str]) -> Result<()> {
            Err(Error::new(ErrorKind::MonitorLost, "gone"))
        }
    }
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("archive");
    std::fs::write(&path, archive(&docker())).unwrap();
    let error =
        load::load(&fixture.store, &Broken, Source::Path(path), &LoadOptions::default(), &|_| {}, &NEVER)
            .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MonitorLost);
    assert_ne!(std::fs::read_dir(fixture.store.paths.layers()).unwrap().count(), 0);
    Session::run(&fixture.store, &fixture.worker, &NEVER, |_| Ok(())).unwrap();
    fixture.assert_clean(0);
}

#[test]
fn host_programs_run_in_the_image_made_of_them() {
    let fixture = Fixture::new();
    let make = |items: &[&str], name: &str| {
        let items: Vec<HostItem> = items.iter().map(|item| HostItem::from(*item)).collect();
        from_host::from_host(
            (&fixture.store, &fixture.worker),
            &items,
            Some(name),
            ImportOptions::default(),
            &|_| {},
            &NEVER,
        )
    };
    let first = make(&["sh", "cat", "/usr/bin/env:/opt/tool/env"], "host").unwrap();
    let second = make(&["sh", "cat", "/usr/bin/env:/opt/tool/env"], "again").unwrap();
    assert_eq!(first.id, second.id, "the same files give the same image");
    let root = fixture.tree("host");
    assert_eq!(std::fs::read_link(root.join("usr/bin/sh")).ok(), std::fs::read_link("/usr/bin/sh").ok());
    assert!(root.join("opt/tool/env").is_file() && root.join("etc/passwd").is_file());
    if rustix::process::geteuid().is_root() {
        let output = Command::new("chroot")
            .arg(&root)
            .args(["/bin/sh", "-c", "cat /etc/group; /opt/tool/env X=1 /usr/bin/sh -c 'echo $X'"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "root:x:0:\nnogroup:x:65534:\n1\n", "{output:?}");
    }
    for (items, kind) in [
        (vec!["no-such-program-anywhere"], ErrorKind::PathNotFound),
        (vec!["/no/such/file"], ErrorKind::PathNotFound),
        (vec!["/dev/null"], ErrorKind::InvalidArgument),
        (vec!["sh:relative"], ErrorKind::InvalidArgument),
        (vec!["sh:/a/../b"], ErrorKind::InvalidArgument),
        (vec![], ErrorKind::InvalidArgument),
    ] {
        let error = make(&items, "bad").unwrap_err();
        assert_eq!(error.kind(), kind, "{items:?}: {error}");
    }
    fixture.assert_clean(1);
}

#[test]
fn host_directories_scripts_and_modes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fixture = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    let base = host.path().join("tree");
    std::fs::create_dir_all(base.join("sub")).unwrap();
    std::fs::write(base.join("script"), "#!/usr/bin/env -S cat\nhello\n").unwrap();
    std::fs::set_permissions(base.join("script"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::hard_link(base.join("script"), base.join("sub/twin")).unwrap();
    symlink("script", base.join("link")).unwrap();
    symlink("/nowhere/at/all", base.join("dangling")).unwrap();
    std::fs::write(base.join("sub").join("n".repeat(200)), "long name").unwrap();
    std::fs::write(
        base.join("broken.so"),
        b"\x7fELF\x02\x01 damaged and long enough for a header of the wide kind, really",
    )
    .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        base.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let items = [HostItem { source: base.clone(), target: Some("/app".into()) }];
    from_host::from_host(
        (&fixture.store, &fixture.worker),
        &items,
        Some("tree"),
        ImportOptions::default(),
        &|_| {},
        &NEVER,
    )
    .unwrap();
    let root = fixture.tree("tree");
    let metadata = root.join("app/script").metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 2);
    assert_eq!(std::fs::read_link(root.join("app/dangling")).unwrap(), Path::new("/nowhere/at/all"));
    assert!(!root.join("app/pipe").exists() && root.join("app/sub").join("n".repeat(200)).exists());
    assert!(root.join("usr/bin/env").is_file(), "the interpreter came along");
    if rustix::process::geteuid().is_root() {
        let output = Command::new("chroot").arg(&root).arg("/app/script").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "#!/usr/bin/env -S cat\nhello\n", "{output:?}");
    }
    fixture.assert_clean(1);
}

#[test]
fn scripts_that_nobody_named_bring_what_there_is() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fixture = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    let base = host.path().canonicalize().unwrap().join("tree");
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(base.join(name).parent().unwrap()).unwrap();
        std::fs::write(base.join(name), text).unwrap();
        std::fs::set_permissions(base.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let make = |source: PathBuf, target: &str, name: &str| {
        let items = [HostItem { source, target: Some(target.into()) }];
        let at = (&fixture.store, &fixture.worker as &dyn Worker);
        from_host::from_host(at, &items, Some(name), ImportOptions::default(), &|_| {}, &NEVER)
    };
    put("absent", "#!/no/such/interpreter -x\n");
    put("unknown", "#!/usr/bin/env no-such-program-anywhere\n");
    put("relative", "#!perl\n");
    put("device", "#!/dev/null\n");
    put("directory", "#!/usr\n");
    put("damaged", &format!("#!{}\n", base.join("not-elf").display()));
    put("not-elf", "\x7fELF\x02\x01 damaged and long enough for a header of the wide kind, really, it is\n");
    for n in 0..9 {
        put(&format!("chain{n}"), &format!("#!{}\n", base.join(format!("chain{}", n + 1)).display()));
    }
    make(base.clone(), "/app", "odd").unwrap();
    let root = fixture.tree("odd");
    assert!(root.join("app/absent").is_file() && !root.join("no").exists() && !root.join("app/no").exists());
    // The same ones by name: what is missing is an error.
    for name in ["absent", "unknown", "device", "chain0"] {
        make(base.join(name), "/script", "named").unwrap_err();
    }
    // What the directory has at the interpreter's place counts, and nothing of the host comes in its way.
    let tree = host.path().join("root");
    std::fs::create_dir_all(tree.join("bin")).unwrap();
    std::fs::write(tree.join("bin/busybox"), "the tree's own").unwrap();
    symlink("busybox", tree.join("bin/sh")).unwrap();
    for (name, text) in [("bin/own", "#!/bin/sh\n"), ("bin/other", "#!/bin/cat\n")] {
        std::fs::write(tree.join(name), text).unwrap();
        std::fs::set_permissions(tree.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    make(tree, "/", "root").unwrap();
    let root = fixture.tree("root");
    assert_eq!(std::fs::read(root.join("bin/sh")).unwrap(), b"the tree's own");
    assert!(std::fs::symlink_metadata(root.join("bin")).unwrap().is_dir());
    fixture.assert_clean(2);
}

/// Not a test of its own: the process that the next one kills.
#[test]
#[ignore = "runs only as the child of another test"]
fn load_and_remove_without_end() {
    let Some(dir) = std::env::var_os("COBLE_TEST_CRASH").map(PathBuf::from) else { return };
    let store = Store::open(&dir.join("data"), "host".into()).unwrap();
    let worker = FakeWorker::default();
    loop {
        load::load(
            &store,
            &worker,
            Source::Path(dir.join("archive")),
            &LoadOptions::default(),
            &|_| {},
            &NEVER,
        )
        .unwrap();
        remove::tag(&store, &worker, "demo:1", "more").unwrap();
        for name in ["demo:1", "more", "localhost:5000/x/y:z"] {
            remove::remove(&store, &worker, name, false).unwrap();
        }
    }
}

#[test]
fn a_store_whose_users_are_killed_at_any_moment_is_clean_when_it_is_opened() {
    let fixture = Fixture::new();
    std::fs::write(fixture.dir.path().join("archive"), archive(&docker())).unwrap();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "image::tests::load_and_remove_without_end", "--ignored"])
            .env("COBLE_TEST_CRASH", fixture.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The moment is what the test varies; there is no event to wait for.
        std::thread::sleep(std::time::Duration::from_millis(15 + round * 17 % 90));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&fixture.dir.path().join("data"), "host".into()).unwrap();
        // A child that it had forked and that had not yet become `tar` holds its locks for a moment longer.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let ingest = store.content.path.join("ingest");
        loop {
            crate::state::sweep(&store, &fixture.worker).unwrap();
            let left = std::fs::read_dir(&ingest).unwrap().count();
            if left == 0 || std::time::Instant::now() > deadline {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let images = inspect::list(&store, &Default::default()).unwrap().len();
        fixture.assert_clean(images);
    }
}

/// Not a test of its own: runs with its temporary directory on a small file system.
#[test]
#[ignore = "runs only as the child of another test"]
fn load_on_a_full_disk() {
    let Some(path) = std::env::var_os("COBLE_TEST_FULL") else { return };
    let fixture = Fixture::new();
    let error = fixture.load(PathBuf::from(&path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    fixture.assert_clean(0);
    let error = import::import_rootfs(
        (&fixture.store, &fixture.worker),
        Source::Path(path.into()),
        Some("x"),
        ImportOptions::default(),
        &|_| {},
        &NEVER,
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
    fixture.assert_clean(0);
    // What fits still works.
    fixture.import(&tar(&[("a", "1")]), "small").unwrap();
    fixture.assert_clean(1);
}

#[test]
fn a_full_disk_is_said_so_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut files = docker();
    // Not compressible, and larger than the file system.
    files.insert(
        "padding".into(),
        (0..6u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
    );
    std::fs::write(dir.path().join("archive"), archive(&files)).unwrap();
    std::fs::create_dir(dir.path().join("small")).unwrap();
    let script = r#"mount -t tmpfs -o size=4m none "$1" && TMPDIR="$1" exec "$0" --exact image::tests::load_on_a_full_disk --ignored"#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(dir.path().join("small"))
        .env("COBLE_TEST_FULL", dir.path().join("archive"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_layers_lose_is_told_by_the_call_that_unpacks_them() {
    let mut fixture = Fixture::new();
    fixture.worker.warnings =
        vec![coble_protocol::Failure::new(coble_protocol::Step::Device, libc::EPERM, "dev/x")];
    let codes = |warnings: &[crate::container::Warning]| -> Vec<String> {
        warnings.iter().map(|warning| warning.code.clone()).collect()
    };
    let loaded = fixture.load_bytes(&archive(&docker())).unwrap();
    // Two layers, each with one warning in words and one that is only counted.
    assert_eq!(codes(&loaded[0].warnings), ["device", "more-warnings", "device", "more-warnings"]);
    assert!(loaded[0].warnings[0].message.contains("dev/x"), "{:?}", loaded[0].warnings);
    assert_eq!(loaded[0].warnings[1].message, "1 more of the same layer");
    let again = fixture.load_bytes(&archive(&docker())).unwrap();
    assert_eq!(again[0].warnings, []);
    assert_eq!(inspect::list(&fixture.store, &Default::default()).unwrap()[0].warnings, []);
    let imported = fixture.import(&tar(&[("etc/three", "3")]), "rootfs").unwrap();
    assert_eq!(codes(&imported.warnings), ["device", "more-warnings"]);
    fixture.assert_clean(2);
}
