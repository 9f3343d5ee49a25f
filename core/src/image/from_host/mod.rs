//! An image of files of the host, with what its programs need to run: the interpreter and the shared libraries, found by reading headers.
//! Nothing of the host is ever run.

mod elf;
mod loader;
mod tar;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FileType, Stat};

use super::add::{Made, make};
use super::{HostItem, ImageSummary, ImportOptions};
use crate::cancel::CancelToken;
use crate::content::writer;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::snapshot::Worker;
use crate::state::{Session, Store, rfc3339};
use elf::Target;
use loader::{Loader, musl_architecture, musl_path_file, open_regular};
use tree::{Node, Reached, Tree, directory_mode, file, read_link};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most interpreters of interpreters of scripts: one more than the kernel follows.
const MAX_SCRIPTS: usize = 5;
/// Links in the root of systems that keep everything below `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

pub(super) fn from_host(
    (store, worker): (&Store, &dyn Worker),
    items: &[HostItem],
    reference: Option<&str>,
    mut options: ImportOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let reference = reference.map(Reference::parse_tag).transpose()?;
    if items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "no files were named"));
    }
    if !options.environment.iter().any(|(name, _)| name == "PATH") {
        options.environment.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    super::add::config(&options)?;
    let doing = || match &reference {
        Some(reference) => format!("making image \"{}\" from the host", reference.familiar()),
        None => "making an image from the host".to_owned(),
    };
    let tree = collect(store, items, cancel).context(doing)?;
    // The same files give the same image, so its date is theirs.
    let created = rfc3339(UNIX_EPOCH + Duration::from_secs(u64::try_from(tree.newest()).unwrap_or(0)));
    let name = reference.as_ref().map(ToString::to_string).unwrap_or_default();
    let reporter = &Reporter::new(&name, progress);
    Session::run(store, worker, cancel, |session| {
        let mut output = writer(session)?;
        let meter = reporter.source(tree.bytes());
        tar::write(&tree, &mut output, &meter, cancel)?;
        meter.tell(ProgressKind::Read);
        let layer = output.finish();
        let made = Made {
            layer: &layer,
            options,
            created,
            created_by: "coble image from-host",
            reference: reference.clone(),
        };
        make((store, worker), session, made, reporter, cancel)
    })
    .context(doing)
}

/// Everything that goes into the image.
fn collect(store: &Store, items: &[HostItem], cancel: &CancelToken) -> Result<Tree> {
    let own = rustix::fs::fstat(&store.data).call("fstat", &store.paths.data)?;
    let mut collector = Collector::new((own.st_dev, own.st_ino), cancel);
    let mut sources = Vec::with_capacity(items.len());
    for item in items {
        sources.push((look_up(&item.source)?, item.target.as_deref()));
    }
    // What stays at its place first: it brings the host's links, which targets are then resolved through.
    for (source, _) in sources.iter().filter(|(_, target)| target.is_none()) {
        collector.same_place(source)?;
    }
    for (source, target) in &sources {
        if let Some(target) = target {
            collector.other_place(source, target)?;
        }
    }
    collector.bring_interpreters()?;
    collector.finish()
}

/// The file that an item means.
fn look_up(source: &Path) -> Result<PathBuf> {
    let mut components = source.components();
    let is_name = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        && !source.as_os_str().as_bytes().contains(&b'/');
    if is_name {
        return in_path(source.as_os_str());
    }
    if source.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "an empty path names no file"));
    }
    std::path::absolute(source).call("getcwd", source)
}

/// The program that a name means in `PATH`.
fn in_path(name: &OsStr) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path =
        std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| {
            Error::new(ErrorKind::PathNotFound, format!("no program \"{}\" in PATH", name.display()))
                .with_object(name.to_string_lossy())
                .with_hint("give its whole path")
        })
}

struct Collector<'a> {
    tree: Tree,
    loader: Loader,
    /// Libraries that the loader in the image has to be told about.
    cached: BTreeMap<(String, PathBuf), Target>,
    /// Files whose needs are known, as (host, image).
    visited: HashSet<(PathBuf, PathBuf)>,
    /// Interpreters of scripts that came with a directory.
    interpreters: BTreeSet<PathBuf>,
    /// Device and inode of the store's own directory, which must not end up in an image.
    store: (u64, u64),
    cancel: &'a CancelToken,
}

/// How much it matters that a file's needs are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// It was named: everything has to be there.
    Named,
    /// It came with a directory: a program has to have everything, a shared object may be one that nobody loads, and a script one that nobody runs.
    Found,
}

impl<'a> Collector<'a> {
    fn new(store: (u64, u64), cancel: &'a CancelToken) -> Collector<'a> {
        Collector {
            tree: Tree::default(),
            loader: Loader::default(),
            cached: BTreeMap::new(),
            visited: HashSet::new(),
            interpreters: BTreeSet::new(),
            store,
            cancel,
        }
    }

    /// Adds the interpreters of scripts that nobody named, once each, with what they need: what is in a directory should run as far as it does on the host. One that the image has already,
    /// at its place, is the one that counts; one that is not here in full, or not without being in the way of what was named, is left out, and the script is a file as any other.
    fn bring_interpreters(&mut self) -> Result<()> {
        for interpreter in std::mem::take(&mut self.interpreters) {
            if self.tree.has_file(&interpreter) {
                continue;
            }
            let mut own = Collector::new(self.store, self.cancel);
            let brought = own.tree.add_host(&interpreter).and_then(|(host, reached)| match reached {
                Reached::File => own.needs(&host, &host, Care::Named, 1).map(|()| true),
                Reached::Directory => Ok(false),
            });
            match brought {
                Ok(true) if self.tree.merge(own.tree) => self.cached.extend(own.cached),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::PathNotFound
                            | ErrorKind::PermissionDenied
                            | ErrorKind::InvalidArgument
                            | ErrorKind::Io
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn same_place(&mut self, source: &Path) -> Result<()> {
        let doing = || format!("adding \"{}\"", source.display());
        let (host, reached) = self.tree.add_host(source).context(doing)?;
        match reached {
            Reached::File => self.needs(&host, &host, Care::Named, 0).context(doing),
            Reached::Directory => {
                let image = host.strip_prefix("/").unwrap_or(&host).to_owned();
                self.directory(&host, &image).context(doing)
            }
        }
    }

    fn other_place(&mut self, source: &Path, target: &Path) -> Result<()> {
        let invalid = |why: &str| {
            Err(Error::new(ErrorKind::InvalidArgument, format!("target \"{}\" {why}", target.display()))
                .with_object(target.to_string_lossy()))
        };
        if !target.is_absolute() {
            return invalid("is not absolute");
        }
        if target.components().any(|part| part == Component::ParentDir) {
            return invalid("has \"..\" in it");
        }
        let doing = || format!("adding \"{}\"", source.display());
        let host = std::fs::canonicalize(source).call("realpath", source).context(doing)?;
        let stat = rustix::fs::stat(&host).call("stat", &host).context(doing)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let image = self.tree.place(target)?;
            if !image.as_os_str().is_empty() {
                self.tree.insert(image.clone(), Node::Directory { mode: directory_mode(&stat) })?;
            }
            return self.directory(&host, &image).context(doing);
        }
        let image = self.tree.add_file_at(&host, target).context(doing)?;
        self.needs(&host, &image, Care::Named, 0).context(doing)
    }

    /// Adds what is in a directory. `image` is relative to the image's root.
    fn directory(&mut self, host: &Path, image: &Path) -> Result<()> {
        let mut todo = vec![(host.to_owned(), image.to_owned())];
        let mut programs = Vec::new();
        while let Some((host, image)) = todo.pop() {
            self.cancel.check()?;
            let entries = std::fs::read_dir(&host).call("opendir", &host)?;
            for entry in entries {
                let entry = entry.call("readdir", &host)?;
                let (host, image) = (entry.path(), image.join(entry.file_name()));
                let stat = match rustix::fs::lstat(&host) {
                    Ok(stat) => stat,
                    // Gone since it was listed.
                    Err(rustix::io::Errno::NOENT) => continue,
                    Err(errno) => return Err(Error::syscall("stat", host, errno.raw_os_error())),
                };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {
                        if (stat.st_dev, stat.st_ino) == self.store {
                            continue;
                        }
                        self.tree.insert(image.clone(), Node::Directory { mode: directory_mode(&stat) })?;
                        if !is_pseudo(&host)? {
                            todo.push((host, image));
                        }
                    }
                    FileType::Symlink => self.tree.insert(image, Node::Link(read_link(&host)?))?,
                    FileType::RegularFile => {
                        self.tree.insert(image.clone(), file(&host, &stat))?;
                        if may_need(&stat, &host) {
                            programs.push((host, Path::new("/").join(image)));
                        }
                    }
                    // Devices, pipes and sockets mean nothing elsewhere.
                    _ => {}
                }
            }
        }
        // In order, so that the same files give the same answer.
        programs.sort_unstable();
        for (host, image) in programs {
            self.needs(&host, &image, Care::Found, 0)?;
        }
        Ok(())
    }

    /// Adds what a file needs to run. Both paths are without links.
    fn needs(&mut self, host: &Path, image: &Path, care: Care, depth: usize) -> Result<()> {
        self.cancel.check()?;
        if !self.visited.insert((host.to_owned(), image.to_owned())) {
            return Ok(());
        }
        let elf = match self.loader.elf(host) {
            Ok(elf) => elf,
            // A damaged file in a directory is just a file.
            Err(error) if error.kind() == ErrorKind::InvalidArgument && care == Care::Found => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(elf) = elf else { return self.script(host, care, depth) };
        if let Some(interpreter) = &elf.interpreter {
            let path = Path::new(interpreter);
            if !path.is_absolute() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "\"{}\" has the interpreter \"{interpreter}\", which is not absolute",
                        host.display()
                    ),
                ));
            }
            self.tree.add_host(path).context(|| format!("the interpreter of \"{}\"", host.display()))?;
            if let Some(file) =
                musl_architecture(interpreter).map(musl_path_file).filter(|file| file.is_file())
            {
                self.tree.add_host(&file)?;
            }
        }
        let needs = self.loader.needs(&elf, host, image)?;
        if let Some(name) = needs.missing.first().filter(|_| care == Care::Named || elf.interpreter.is_some())
        {
            return Err(Error::new(
                ErrorKind::PathNotFound,
                format!("\"{}\" needs the library \"{name}\", which is not on this host", host.display()),
            )
            .with_object(name)
            .with_hint("install the package that has it"));
        }
        for library in needs.libraries {
            if library.host == library.image {
                self.tree.add_host(&library.host)?;
            } else {
                let real = std::fs::canonicalize(&library.host).call("realpath", &library.host)?;
                self.tree.add_file_at(&real, &library.image)?;
            }
            if let Some((name, target)) = library.cached {
                self.cached.insert((name, library.image), target);
            }
        }
        Ok(())
    }

    /// Adds the interpreter of a script.
    fn script(&mut self, host: &Path, care: Care, depth: usize) -> Result<()> {
        // As much as the kernel looks at.
        let mut head = Vec::new();
        open_regular(host)?.take(256).read_to_end(&mut head).call("read", host)?;
        let Some(line) = head.strip_prefix(b"#!") else { return Ok(()) };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next() else { return Ok(()) };
        let doing = || format!("the interpreter of the script \"{}\"", host.display());
        if depth >= MAX_SCRIPTS {
            return Err(Error::syscall("resolve", host, libc::ELOOP)).context(doing);
        }
        let found = care == Care::Found;
        let mut programs = vec![PathBuf::from(interpreter)];
        if interpreter.rsplit('/').next() == Some("env") {
            // `env` starts what follows its options and variables.
            if let Some(name) = words.find(|word| !word.starts_with('-') && !word.contains('=')) {
                match look_up(Path::new(name)) {
                    Ok(program) => programs.push(program),
                    Err(_) if found => {}
                    Err(error) => return Err(error).context(doing),
                }
            }
        }
        programs.retain(|program| program.is_absolute());
        if found {
            self.interpreters.extend(programs);
            return Ok(());
        }
        for program in programs {
            let (host, reached) = self.tree.add_host(&program).context(doing)?;
            if reached == Reached::File {
                self.needs(&host, &host, care, depth + 1).context(doing)?;
            }
        }
        Ok(())
    }

    /// Adds what every system has, unless it was given.
    fn finish(mut self) -> Result<Tree> {
        for name in MERGED {
            let host = Path::new("/").join(name);
            let is_link = rustix::fs::lstat(&host)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if is_link && !self.tree.nodes.contains_key(Path::new(name)) {
                let target = read_link(&host)?;
                let relative = target.strip_prefix("/").unwrap_or(&target);
                if matches!(self.tree.nodes.get(relative), Some(Node::Directory { .. })) {
                    self.tree.insert(PathBuf::from(name), Node::Link(target))?;
                }
            }
        }
        let directories = [
            ("dev", 0o755),
            ("etc", 0o755),
            ("proc", 0o555),
            ("root", 0o700),
            ("run", 0o755),
            ("sys", 0o555),
            ("tmp", 0o1777),
            ("usr", 0o755),
            ("var", 0o755),
            ("var/tmp", 0o1777),
        ];
        for (path, mode) in directories {
            self.tree.insert_if_absent(path, Node::Directory { mode })?;
        }
        let text = |content: &str| Node::Text { content: content.as_bytes().to_vec(), mode: 0o644 };
        self.tree.insert_if_absent(
            "etc/passwd",
            text(
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            ),
        )?;
        self.tree.insert_if_absent("etc/group", text("root:x:0:\nnogroup:x:65534:\n"))?;
        if let Some(content) = loader::cache(&self.cached) {
            self.tree.insert_if_absent("etc/ld.so.cache", Node::Text { content, mode: 0o644 })?;
        }
        Ok(self.tree)
    }
}

/// Whether a file of a directory could need others: programs, scripts, and shared objects, which often are not executable.
fn may_need(stat: &Stat, path: &Path) -> bool {
    stat.st_mode & 0o111 != 0 || path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}

/// Whether a directory is one that the kernel makes up.
fn is_pseudo(path: &Path) -> Result<bool> {
    /// procfs, sysfs, cgroup, cgroup2, devpts, debugfs, tracefs, securityfs, bpf, configfs, fusectl, mqueue, binfmt_misc, pstore, efivarfs.
    const PSEUDO: [u64; 15] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x1cd1,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x6265_6570,
        0x6573_5543,
        0x1980_0202,
        0x4249_4e4d,
        0x6165_676c,
        0xde5e_81e4,
    ];
    let stat = rustix::fs::statfs(path).call("statfs", path)?;
    Ok(PSEUDO.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}
