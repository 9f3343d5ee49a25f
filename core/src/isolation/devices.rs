//! Devices of the host that a container is given, and the rules by which the kernel lets it use devices.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use coble_protocol::Device;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::defaults::{DEVICE_RULES, DeviceKind, DeviceRule, default_devices};
use crate::container::mount::{below, clean};
use crate::container::{ContainerSpec, Mount, Warning};
use crate::error::{Call, Error, ErrorKind, Result};

/// The most devices and rules of one container, and the most that are looked for in a directory.
const MOST: usize = 256;
/// The most device nodes of a host.
const MOST_OF_HOST: usize = 4096;

/// What is asked for with one word: a path of the host, a path in the container, and what may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    source: String,
    target: String,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    read: bool,
    write: bool,
    mknod: bool,
}

impl Access {
    const ALL: Access = Access { read: true, write: true, mknod: true };

    /// Some of the letters `r`, `w` and `m`, each once.
    fn parse(text: &str) -> Option<Access> {
        let once = |letter| text.matches(letter).count() <= 1;
        let good = !text.is_empty()
            && text.bytes().all(|byte| b"rwm".contains(&byte))
            && ['r', 'w', 'm'].into_iter().all(once);
        good.then(|| Access {
            read: text.contains('r'),
            write: text.contains('w'),
            mknod: text.contains('m'),
        })
    }
}

fn invalid(field: &str, text: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{field}: \"{}\" {why}", text.escape_default()))
        .with_object(field)
}

/// `source`, `source:target`, `source:access` or `source:target:access`, as docker's `--device` has it.
fn asked(text: &str) -> Result<Asked> {
    let field = "devices";
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts[..] {
        [source] => (source, source, None),
        [source, access] if Access::parse(access).is_some() => (source, source, Some(access)),
        [source, target] => (source, target, None),
        [source, target, access] => (source, target, Some(access)),
        _ => return Err(invalid(field, text, "is not of the form source:target:access")),
    };
    let access = match access {
        None => Access::ALL,
        Some(access) => Access::parse(access)
            .ok_or_else(|| invalid(field, text, "has an access that is not some of r, w and m"))?,
    };
    let paths = [source, target];
    if paths.iter().any(|path| !path.starts_with('/') || path.contains('\0') || path.len() >= 4096) {
        return Err(invalid(field, text, "has a path that is not absolute"));
    }
    let target = clean(target);
    if target == "/" || below(&target, "/proc") || below(&target, "/sys") {
        return Err(invalid(field, text, "has a target that is no place for a device"));
    }
    Ok(Asked { source: source.to_owned(), target, access })
}

/// Source, target and access of what was asked for, in words.
pub(crate) fn words(text: &str) -> Option<(String, String, String)> {
    let Asked { source, target, access } = asked(text).ok()?;
    let letters = [(access.read, 'r'), (access.write, 'w'), (access.mknod, 'm')];
    let access = letters.into_iter().filter_map(|(wanted, letter)| wanted.then_some(letter)).collect();
    Some((source, target, access))
}

/// `kind major:minor access`, such as `c 10:* rw`, as docker's `--device-cgroup-rule` has it. `a` is both kinds.
fn rule(text: &str) -> Result<Vec<DeviceRule>> {
    let wrong = || invalid("device_cgroup_rules", text, "is not of the form \"c 10:229 rwm\"");
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(wrong()) };
    let kinds: &[DeviceKind] = match kind {
        "a" => &[DeviceKind::Char, DeviceKind::Block],
        "c" => &[DeviceKind::Char],
        "b" => &[DeviceKind::Block],
        _ => return Err(wrong()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    };
    let (major, minor) = (number(major)?, number(minor)?);
    let Access { read, write, mknod } = Access::parse(access).ok_or_else(wrong)?;
    Ok(kinds.iter().map(|kind| DeviceRule { kind: *kind, major, minor, read, write, mknod }).collect())
}

/// Checks what was asked for, without a look at the host.
pub(crate) fn check(spec: &ContainerSpec) -> Result<()> {
    if spec.devices.len() + spec.device_cgroup_rules.len() > MOST {
        return Err(invalid("devices", "they", "are too many"));
    }
    spec.devices.iter().try_for_each(|text| asked(text).map(drop))?;
    spec.device_cgroup_rules.iter().try_for_each(|text| rule(text).map(drop))
}

/// The devices that were asked for, opened.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// How each comes into the container, with the device itself.
    pub(crate) binds: Vec<(Mount, OwnedFd)>,
    /// What the kernel allows; None: everything.
    pub(crate) rules: Option<Vec<DeviceRule>>,
}

impl Devices {
    /// Opens them as the caller, as paths only: nothing is done to a device.
    pub(crate) fn open(spec: &ContainerSpec, rootless: bool, warnings: &mut Vec<Warning>) -> Result<Devices> {
        let mut devices = Devices::default();
        let mut rules = Vec::new();
        for text in &spec.devices {
            let asked = asked(text)?;
            for (source, target) in expand(&asked)? {
                let opened = super::mounts::open_path(&source);
                let opened = match opened {
                    Err(Errno::NOENT) => {
                        let why = format!("the device \"{}\" does not exist", source.display());
                        return Err(Error::new(ErrorKind::PathNotFound, why)
                            .with_object(source.display().to_string())
                            .with_errno(libc::ENOENT));
                    }
                    opened => opened.call("open", &source)?,
                };
                let stat = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH).call("stat", &source)?;
                let kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::CharacterDevice => DeviceKind::Char,
                    FileType::BlockDevice => DeviceKind::Block,
                    _ => return Err(invalid("devices", &source.display().to_string(), "is not a device")),
                };
                let Access { read, write, mknod } = asked.access;
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                rules.push(DeviceRule { kind, major: Some(major), minor: Some(minor), read, write, mknod });
                let mut mount = Mount::bind(source.display().to_string(), target);
                mount.options = vec!["nosuid".to_owned(), "noexec".to_owned()];
                devices.binds.push((mount, opened));
            }
            if rootless && asked.access != Access::ALL {
                warnings.push(Warning {
                    code: "device-rules-not-applied".into(),
                    message: format!(
                        "what the container does with \"{}\" is restricted by its permissions alone: an ordinary user may set no device rules",
                        asked.source.escape_default()
                    ),
                });
            }
        }
        for text in &spec.device_cgroup_rules {
            rules.extend(rule(text)?);
        }
        if rootless && !spec.device_cgroup_rules.is_empty() {
            warnings.push(Warning {
                code: "device-rules-not-applied".into(),
                message: "device_cgroup_rules are not in force: an ordinary user may set no device rules"
                    .into(),
            });
        }
        devices.rules = (!rootless && !spec.privileged).then(|| merged(rules));
        Ok(devices)
    }
}

/// The default rules and these, each kind and number once, as the kernel would merge them.
fn merged(more: Vec<DeviceRule>) -> Vec<DeviceRule> {
    let mut rules = DEVICE_RULES.to_vec();
    for rule in more {
        let same = |known: &&mut DeviceRule| {
            (known.kind, known.major, known.minor) == (rule.kind, rule.major, rule.minor)
        };
        match rules.iter_mut().find(same) {
            Some(known) => {
                known.read |= rule.read;
                known.write |= rule.write;
                known.mknod |= rule.mknod;
            }
            None => rules.push(rule),
        }
    }
    rules
}

/// The devices below a directory, each with its place; or the one itself.
fn expand(asked: &Asked) -> Result<Vec<(PathBuf, String)>> {
    let source = Path::new(&asked.source);
    if !source.is_dir() {
        return Ok(vec![(source.to_path_buf(), asked.target.clone())]);
    }
    let mut found = Vec::new();
    walk(source, &mut |path, metadata| {
        let device = metadata.file_type().is_char_device() || metadata.file_type().is_block_device();
        if let (true, Some(below)) = (device, path.strip_prefix(source).ok().and_then(Path::to_str)) {
            found.push((path.to_path_buf(), format!("{}/{below}", asked.target)));
        }
        found.len() < MOST
    });
    if found.is_empty() {
        return Err(invalid("devices", &asked.source, "is a directory without devices"));
    }
    found.sort();
    Ok(found)
}

/// Goes through a directory of devices, without following links, until `seen` says that it is enough. What cannot be read is as if it were not there.
fn walk(directory: &Path, seen: &mut dyn FnMut(&Path, &std::fs::Metadata) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return true };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let path = entry.path();
        let more = if metadata.is_dir() {
            let skipped = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
            skipped.iter().any(|name| entry.file_name() == *name) || walk(&path, seen)
        } else {
            seen(&path, &metadata)
        };
        if !more {
            return false;
        }
    }
    true
}

/// The nodes of a container's `/dev`: the default ones, and in a privileged container all of the host's, as far as the caller may use them.
pub(crate) fn nodes(spec: &ContainerSpec, rootless: bool) -> Vec<Device> {
    let mut devices = default_devices();
    if !spec.privileged {
        return devices;
    }
    let top = Path::new("/dev");
    walk(top, &mut |path, metadata| {
        let kind = metadata.file_type();
        let name = path.strip_prefix(top).ok().and_then(Path::to_str).unwrap_or_default();
        let ours =
            matches!(name, "" | "console" | "ptmx") || devices.iter().any(|device| device.name == name);
        let usable = || {
            !rootless
                || rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
                || rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
        };
        if (kind.is_char_device() || kind.is_block_device()) && !ours && usable() {
            devices.push(Device {
                name: name.to_owned(),
                major: rustix::fs::major(metadata.rdev()),
                minor: rustix::fs::minor(metadata.rdev()),
                mode: metadata.mode() & 0o7777,
                block: kind.is_block_device(),
                uid: metadata.uid(),
                gid: metadata.gid(),
            });
        }
        devices.len() < MOST_OF_HOST
    });
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_as_docker_reads_them() {
        let all = Access::ALL;
        let read = Access { read: true, write: false, mknod: false };
        for (text, source, target, access) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse", all),
            ("/dev/fuse:r", "/dev/fuse", "/dev/fuse", read),
            ("/dev/fuse:/dev/x", "/dev/fuse", "/dev/x", all),
            ("/dev/fuse:/dev//x/../y:r", "/dev/fuse", "/dev/y", read),
        ] {
            let expected = Asked { source: source.into(), target: target.into(), access };
            assert_eq!(asked(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "fuse",
            "/dev/fuse:x",
            "/dev/fuse:rr",
            "/dev/fuse:/x:",
            "/dev/fuse:/x:rx",
            "/a:/b:r:w",
            "/a:/",
            "/a:/proc/x",
            "/a:/sys",
        ] {
            assert_eq!(asked(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn rules_as_docker_reads_them() {
        assert_eq!(rule("a *:* rwm").unwrap().len(), 2);
        let one = DeviceRule {
            kind: DeviceKind::Char,
            major: Some(10),
            minor: None,
            read: true,
            write: true,
            mknod: false,
        };
        assert_eq!(rule("c 10:* wr").unwrap(), [one]);
        for text in [
            "",
            "c",
            "c 1:2",
            "d 1:2 r",
            "c 1 r",
            "c 1:x r",
            "c 1:2 x",
            "c 1:2 rr",
            "c  1:2 r",
            "c -1:2 r",
            "c 99999999999:1 r",
            "c : r",
        ] {
            assert_eq!(rule(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn rules_are_merged_as_the_kernel_does_it() {
        let rules = merged([rule("c 10:229 r").unwrap(), rule("c 10:229 w").unwrap()].concat());
        assert_eq!(rules.len(), DEVICE_RULES.len() + 1);
        assert!(rules.iter().any(|rule| rule.major == Some(10) && rule.read && rule.write && !rule.mknod));
        assert_eq!(merged(Vec::new()), DEVICE_RULES);
        assert_eq!(merged(rule("c 1:3 r").unwrap()), DEVICE_RULES);
    }
}
