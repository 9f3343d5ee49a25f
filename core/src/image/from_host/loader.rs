//! Where the dynamic loader finds libraries: the search rules of glibc and of musl, followed without running anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags};

use super::elf::{Elf, Target};
use crate::error::{Call, Error, ErrorKind, Result};

/// The most files of `ld.so.conf`, the bytes of each, and the depth of includes.
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 64 * 1024;
const MAX_DEPTH: usize = 8;

/// A library that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Library {
    /// Where it was found.
    pub(super) host: PathBuf,
    /// Where the loader will look for it in the image.
    pub(super) image: PathBuf,
    /// The name under which it was found in a directory that only the loader's cache knows about.
    pub(super) cached: Option<(String, Target)>,
}

/// Looks up libraries on the host. Files are read once.
#[derive(Default)]
pub(super) struct Loader {
    files: HashMap<PathBuf, Option<Rc<Elf>>>,
    configured: Option<Vec<PathBuf>>,
}

/// An object of a process.
struct Object {
    elf: Rc<Elf>,
    /// Directories that `$ORIGIN` stands for.
    origin: Pair,
    /// The object that needed it.
    parent: Option<usize>,
}

/// A directory on the host and in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    host: PathBuf,
    image: PathBuf,
}

/// What a program of the host needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) libraries: Vec<Library>,
    /// Names that were not found.
    pub(super) missing: Vec<String>,
}

impl Loader {
    /// The ELF headers of a file; None if it is something else.
    pub(super) fn elf(&mut self, path: &Path) -> Result<Option<Rc<Elf>>> {
        if let Some(known) = self.files.get(path) {
            return Ok(known.clone());
        }
        let file = open_regular(path)?;
        let elf = match Elf::read(&file).call("read", path)? {
            Ok(elf) => elf.map(Rc::new),
            Err(why) => {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("\"{}\" is no usable program: {why}", path.display()),
                )
                .with_object(path.to_string_lossy()));
            }
        };
        self.files.insert(path.to_owned(), elf.clone());
        Ok(elf)
    }

    /// Every library that the file and its libraries need. `image` is where the file itself will be.
    pub(super) fn needs(&mut self, elf: &Rc<Elf>, host: &Path, image: &Path) -> Result<Needs> {
        let musl = elf.interpreter.as_deref().and_then(musl_architecture).map(str::to_owned);
        let mut needs = Needs::default();
        let mut known: HashSet<String> = HashSet::new();
        if let Some(interpreter) = &elf.interpreter {
            known.extend(interpreter.rsplit('/').next().map(str::to_owned));
        }
        let directory = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
        let origin = Pair { host: directory(host), image: directory(image) };
        let mut objects = vec![Object { elf: elf.clone(), origin, parent: None }];
        let mut next = 0;
        while let Some(object) = objects.get(next) {
            let wanted = object.elf.needed.clone();
            for name in wanted {
                if known.contains(&name) || (musl.is_some() && is_in_musl(&name)) {
                    continue;
                }
                known.insert(name.clone());
                match self.find(&objects, next, &name, elf.target, musl.as_deref())? {
                    Some((library, found)) => {
                        known.extend(found.soname.clone());
                        let origin =
                            Pair { host: directory(&library.host), image: directory(&library.image) };
                        objects.push(Object { elf: found, origin, parent: Some(next) });
                        needs.libraries.push(library);
                    }
                    None => needs.missing.push(name),
                }
            }
            next += 1;
        }
        Ok(needs)
    }

    fn find(
        &mut self,
        objects: &[Object],
        index: usize,
        name: &str,
        target: Target,
        musl: Option<&str>,
    ) -> Result<Option<(Library, Rc<Elf>)>> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            let elf = self.fitting(&path, target)?;
            return Ok(elf.map(|elf| (Library { host: path.clone(), image: path, cached: None }, elf)));
        }
        for pair in own_paths(objects, index, target, musl.is_some()) {
            let (host, image) = (pair.host.join(name), pair.image.join(name));
            if let Some(elf) = self.fitting(&host, target)? {
                return Ok(Some((Library { host, image, cached: None }, elf)));
            }
        }
        let general = match musl {
            Some(architecture) => musl_path(architecture)?,
            None => {
                let mut paths = self.configured()?.to_vec();
                paths.extend(default_paths(target));
                paths
            }
        };
        for directory in general {
            let host = directory.join(name);
            if let Some(elf) = self.fitting(&host, target)? {
                let cached = musl.is_none().then(|| (name.to_owned(), target));
                return Ok(Some((Library { image: host.clone(), host, cached }, elf)));
            }
        }
        Ok(None)
    }

    /// The headers of a file that is there and can be loaded together with the target.
    fn fitting(&mut self, path: &Path, target: Target) -> Result<Option<Rc<Elf>>> {
        if !path.is_absolute() || !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        // A damaged candidate is passed over, as the loader does.
        match self.elf(path) {
            Ok(elf) => Ok(elf.filter(|elf| elf.target == target)),
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn configured(&mut self) -> Result<&[PathBuf]> {
        if self.configured.is_none() {
            let mut files = 0;
            let mut paths = Vec::new();
            read_configuration(Path::new("/etc/ld.so.conf"), 0, &mut files, &mut paths)?;
            self.configured = Some(paths);
        }
        Ok(self.configured.as_deref().unwrap_or_default())
    }
}

/// The search paths that objects carry themselves, in the loader's order.
fn own_paths(objects: &[Object], index: usize, target: Target, musl: bool) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut at = objects.get(index);
    let own = at;
    let use_rpath = musl || own.is_some_and(|object| object.elf.runpath.is_none());
    while let Some(object) = at.filter(|_| use_rpath) {
        let path = match (musl, &object.elf.runpath, &object.elf.rpath) {
            (true, Some(runpath), _) => Some(runpath),
            (_, None, rpath) => rpath.as_ref(),
            (false, Some(_), _) => None,
        };
        pairs.extend(path.into_iter().flat_map(|path| expand(path, &object.origin, target)));
        at = object.parent.and_then(|parent| objects.get(parent));
    }
    if let Some((object, runpath)) =
        own.filter(|_| !musl).and_then(|object| Some((object, object.elf.runpath.as_ref()?)))
    {
        pairs.extend(expand(runpath, &object.origin, target));
    }
    pairs
}

/// The directories of a search path, with the loader's tokens filled in.
fn expand(path: &str, origin: &Pair, target: Target) -> Vec<Pair> {
    let libs = library_names(target);
    let mut pairs = Vec::new();
    for part in path.split(':').filter(|part| !part.is_empty()) {
        let has_lib = part.contains("$LIB") || part.contains("${LIB}");
        let choices: &[&str] = if has_lib { &libs } else { &["lib"] };
        for lib in choices {
            let fill = |origin: &Path| {
                let text = part
                    .replace("${ORIGIN}", &origin.to_string_lossy())
                    .replace("$ORIGIN", &origin.to_string_lossy())
                    .replace("${LIB}", lib)
                    .replace("$LIB", lib)
                    .replace("${PLATFORM}", platform(target))
                    .replace("$PLATFORM", platform(target));
                PathBuf::from(text)
            };
            let pair = Pair { host: fill(&origin.host), image: fill(&origin.image) };
            if pair.host.is_absolute() {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// Opens a file that has to be regular.
pub(super) fn open_regular(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).call("open", path)?;
    let stat = rustix::fs::fstat(&fd).call("fstat", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("\"{}\" is not a regular file", path.display()),
        )
        .with_object(path.to_string_lossy()));
    }
    Ok(fd.into())
}

fn read_small(path: &Path) -> Result<Option<String>> {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    open_regular(path)?.take(MAX_BYTES).read_to_end(&mut bytes).call("read", path)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads `ld.so.conf` with its includes.
fn read_configuration(path: &Path, depth: usize, files: &mut usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    *files += 1;
    if depth > MAX_DEPTH || *files > MAX_FILES {
        return Ok(());
    }
    let Some(text) = read_small(path)? else { return Ok(()) };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(patterns) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            for pattern in patterns.split_whitespace() {
                let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern);
                for file in matching(&pattern) {
                    read_configuration(&file, depth + 1, files, paths)?;
                }
            }
        } else if line.starts_with('/') {
            // An old form has a type behind the directory.
            let directory = line.split('=').next().unwrap_or(line).trim_end();
            paths.extend(
                directory
                    .split([':', ' ', '\t', ','])
                    .filter(|path| path.starts_with('/'))
                    .map(PathBuf::from),
            );
        }
    }
    Ok(())
}

/// Files whose name matches the last part of a pattern with `*`, in order.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) =
        (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
                && (!name.starts_with('.') || before.starts_with('.'))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found
}

/// The architecture in the name of musl's loader.
pub(super) fn musl_architecture(interpreter: &str) -> Option<&str> {
    interpreter.rsplit('/').next()?.strip_prefix("ld-musl-")?.strip_suffix(".so.1")
}

/// The file with the search path of musl's loader.
pub(super) fn musl_path_file(architecture: &str) -> PathBuf {
    PathBuf::from(format!("/etc/ld-musl-{architecture}.path"))
}

fn musl_path(architecture: &str) -> Result<Vec<PathBuf>> {
    let text =
        read_small(&musl_path_file(architecture))?.unwrap_or_else(|| "/lib:/usr/local/lib:/usr/lib".into());
    Ok(text.split([':', '\n']).filter(|path| path.starts_with('/')).map(PathBuf::from).collect())
}

/// The names that musl's loader takes for itself.
fn is_in_musl(name: &str) -> bool {
    matches!(
        name,
        "libc.so" | "libpthread.so" | "librt.so" | "libm.so" | "libdl.so" | "libutil.so" | "libxnet.so"
    )
}

const X86: u16 = 3;
const PPC64: u16 = 21;
const S390: u16 = 22;
const ARM: u16 = 40;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const RISCV: u16 = 243;
const LOONGARCH: u16 = 258;

/// The directory of Debian's multiarch scheme.
fn triplet(target: Target) -> Option<&'static str> {
    Some(match (target.machine, target.is_64, target.little) {
        (X86_64, true, _) => "x86_64-linux-gnu",
        (X86_64, false, _) => "x86_64-linux-gnux32",
        (X86, ..) => "i386-linux-gnu",
        (AARCH64, ..) => "aarch64-linux-gnu",
        (ARM, ..) => "arm-linux-gnueabihf",
        (RISCV, true, _) => "riscv64-linux-gnu",
        (PPC64, _, true) => "powerpc64le-linux-gnu",
        (PPC64, _, false) => "powerpc64-linux-gnu",
        (S390, true, _) => "s390x-linux-gnu",
        (LOONGARCH, ..) => "loongarch64-linux-gnu",
        _ => return None,
    })
}

fn platform(target: Target) -> &'static str {
    match target.machine {
        X86_64 => "x86_64",
        X86 => "i686",
        AARCH64 => "aarch64",
        ARM => "v7l",
        _ => "",
    }
}

/// What `$LIB` can stand for; it is built into the loader.
fn library_names(target: Target) -> Vec<&'static str> {
    let multiarch = match triplet(target) {
        Some("x86_64-linux-gnu") => Some("lib/x86_64-linux-gnu"),
        Some("i386-linux-gnu") => Some("lib/i386-linux-gnu"),
        Some("aarch64-linux-gnu") => Some("lib/aarch64-linux-gnu"),
        Some("arm-linux-gnueabihf") => Some("lib/arm-linux-gnueabihf"),
        Some("riscv64-linux-gnu") => Some("lib/riscv64-linux-gnu"),
        _ => None,
    };
    let wide = target.is_64.then_some("lib64");
    multiarch.into_iter().chain(wide).chain(["lib"]).collect()
}

/// The directories that loaders have built in, of all the common distributions.
fn default_paths(target: Target) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(triplet) = triplet(target) {
        paths.push(format!("/lib/{triplet}"));
        paths.push(format!("/usr/lib/{triplet}"));
    }
    let other = if target.is_64 { ["/lib64", "/usr/lib64"] } else { ["/lib32", "/usr/lib32"] };
    paths.extend(other.map(String::from));
    paths.extend(["/lib", "/usr/lib"].map(String::from));
    paths.into_iter().map(PathBuf::from).collect()
}

/// The content of `/etc/ld.so.cache` for libraries by name, so that the loader in the image finds them wherever they are. None if there is nothing to say.
pub(super) fn cache(libraries: &BTreeMap<(String, PathBuf), Target>) -> Option<Vec<u8>> {
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let mut entries: Vec<(&str, &str, u32)> = libraries
        .iter()
        .filter_map(|((name, path), target)| Some((name.as_str(), path.to_str()?, cache_flags(*target)?)))
        .collect();
    if entries.is_empty() {
        return None;
    }
    // The loader searches by halves, from the greatest name to the least.
    entries.sort_by(|a, b| compare(b.0, a.0).then(b.2.cmp(&a.2)).then(a.1.cmp(b.1)));
    let mut strings: Vec<u8> = Vec::new();
    let mut table: Vec<u8> = Vec::new();
    let base = HEADER + ENTRY * entries.len();
    let mut place = |text: &str| {
        let at = (base + strings.len()) as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let count = entries.len() as u32;
    for (name, path, flags) in entries {
        let (key, value) = (place(name), place(path));
        for word in [flags, key, value, 0, 0, 0] {
            table.extend_from_slice(&word.to_ne_bytes());
        }
    }
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend_from_slice(&count.to_ne_bytes());
    bytes.extend_from_slice(&(strings.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&[if cfg!(target_endian = "little") { 2 } else { 3 }, 0, 0, 0]);
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(&strings);
    Some(bytes)
}

/// The kind of library in glibc's cache; None for machines whose number is not known here, whose loader then uses its built-in directories.
fn cache_flags(target: Target) -> Option<u32> {
    const LIBC6: u32 = 3;
    Some(match (target.machine, target.is_64) {
        (X86_64, true) => LIBC6 | 0x0300,
        (X86_64, false) => LIBC6 | 0x0800,
        (X86, _) => LIBC6,
        (AARCH64, true) => LIBC6 | 0x0a00,
        (ARM, _) => LIBC6 | 0x0900,
        (RISCV, true) => LIBC6 | 0x1000,
        (PPC64, _) => LIBC6 | 0x0500,
        (S390, true) => LIBC6 | 0x0400,
        _ => return None,
    })
}

/// The order of names in the cache: digits count as numbers, and come after everything else.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let number = |text: &mut &[u8]| {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = text.split_at(digits);
        *text = rest;
        number.iter().fold(0u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    };
    while let Some(first) = a.first() {
        let second = b.first();
        match (first.is_ascii_digit(), second.is_some_and(u8::is_ascii_digit)) {
            (true, true) => match number(&mut a).cmp(&number(&mut b)) {
                std::cmp::Ordering::Equal => {}
                order => return order,
            },
            (true, false) => return std::cmp::Ordering::Greater,
            (false, true) => return std::cmp::Ordering::Less,
            (false, false) if Some(first) == second => {
                a = a.get(1..).unwrap_or_default();
                b = b.get(1..).unwrap_or_default();
            }
            (false, false) => return Some(first).cmp(&second),
        }
    }
    if b.is_empty() { std::cmp::Ordering::Equal } else { std::cmp::Ordering::Less }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_the_loader_orders_them() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (a, b, order) in [
            ("libc.so.6", "libc.so.6", Equal),
            ("libc.so.10", "libc.so.6", Greater),
            ("liba.so", "libb.so", Less),
            ("lib1.so", "liba.so", Greater),
            ("lib", "lib.so", Less),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
        }
    }

    #[test]
    fn configuration_files_are_read_with_includes_and_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("ld.so.conf", "include *.conf # all\n/opt/lib\n/old=libc6\nrelative\n");
        write("b.conf", "/b\n");
        write("a.conf", "/a1:/a2\ninclude ld.so.conf\n");
        let mut paths = Vec::new();
        read_configuration(&dir.path().join("ld.so.conf"), 0, &mut 0, &mut paths).unwrap();
        for wanted in ["/a1", "/a2", "/b", "/opt/lib", "/old"] {
            assert!(paths.contains(&PathBuf::from(wanted)), "{wanted}");
        }
        assert!(!paths.iter().any(|path| path.ends_with("relative")));
    }

    #[test]
    fn tokens_are_filled_in() {
        let target = Target { is_64: true, little: true, machine: X86_64 };
        let origin = Pair { host: "/opt/x/bin".into(), image: "/app".into() };
        let pairs = expand("$ORIGIN/../lib:/abs/$LIB::relative", &origin, target);
        assert_eq!(pairs[0], Pair { host: "/opt/x/bin/../lib".into(), image: "/app/../lib".into() });
        assert_eq!(pairs[1].host, Path::new("/abs/lib/x86_64-linux-gnu"));
        assert_eq!(pairs.len(), 4);
    }
}
