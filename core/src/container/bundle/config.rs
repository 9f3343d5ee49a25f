//! `config.json` of the runtime specification, version 1: pure, text in, options out. See [`super`] for what is left out, and the specification for its words.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use coble_protocol::{IdRange, UserNamespace};
use serde_json::Value;

use super::super::{BindRecursive, ContainerSpec, Mount, MountKind, NamespaceMode, NetworkMode, Warning};
use super::Beyond;
use super::fields::{Fields, Notes, refused, wrong};
use crate::container::mount::clean;
use crate::error::Result;
use crate::isolation::userns::mapped;
use crate::isolation::{capabilities, defaults};

/// The most masked or read-only paths.
const MOST_PATHS: usize = 1024;

/// A configuration, read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) spec: ContainerSpec,
    /// The path of the root file system, as it is written.
    pub(super) root: String,
}

/// Reads a configuration, for a bundle in this directory and a container in this user namespace, if it is in one.
pub(super) fn read(text: &str, directory: &str, userns: Option<&UserNamespace>) -> Result<Read> {
    let document: Value = serde_json::from_str(text)
        .map_err(|error| wrong("the document", format!("cannot be read: {error}")))?;
    let notes = Notes::default();
    let mut spec = ContainerSpec::new("");
    let mut beyond = Beyond::default();
    let mut all = Fields::root(document, &notes)?;
    version(&all.needed("ociVersion")?)?;
    all.refuse(&["windows", "solaris", "vm", "zos", "freebsd"])?;
    let Some(mut root) = all.object("root")? else { return Err(wrong("root", "is missing")) };
    let path = root.needed("path")?;
    spec.read_only = root.flag("readonly")?.unwrap_or(false);
    root.end();
    spec.hostname = all.text("hostname")?.filter(|name| !name.is_empty());
    spec.domainname = all.text("domainname")?.filter(|name| !name.is_empty());
    spec.annotations = all.map("annotations")?;
    hooks(&mut all, &mut spec)?;
    // Nothing unless it is said, as the specification has it.
    spec.cap_drop = vec!["ALL".to_owned()];
    if let Some(process) = all.object("process")? {
        self::process(process, &mut spec, &mut beyond)?;
    }
    for mount in all.objects("mounts")? {
        self::mount(mount, directory, &mut spec)?;
    }
    match all.object("linux")? {
        Some(linux) => self::linux(linux, userns, &mut spec)?,
        None => return Err(wrong("linux", "is missing")),
    }
    all.end();
    let ignored = notes.all();
    if !ignored.is_empty() {
        beyond.warnings.push(Warning {
            code: "bundle-unknown".into(),
            message: format!("of config.json this is no matter: {}", ignored.join(", ")),
        });
    }
    spec.beyond = Some(Box::new(beyond));
    Ok(Read { spec, root: path })
}

fn version(text: &str) -> Result<()> {
    match text.split_once('.') {
        Some(("1", rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
        _ => Err(refused("ociVersion", format!("\"{}\" is not a version 1", text.escape_default()))),
    }
}

fn hooks(all: &mut Fields<'_>, spec: &mut ContainerSpec) -> Result<()> {
    if let Some(hooks) = all.raw("hooks") {
        spec.hooks = serde_json::from_value(hooks).map_err(|error| wrong("hooks", error))?;
    }
    Ok(())
}

fn process(mut all: Fields<'_>, spec: &mut ContainerSpec, beyond: &mut Beyond) -> Result<()> {
    all.refuse(&["commandLine", "scheduler", "ioPriority", "execCPUAffinity", "selinuxLabel"])?;
    spec.tty = all.flag("terminal")?.unwrap_or(false);
    if let Some(mut size) = all.object("consoleSize")? {
        let (height, width) = (size.number("height")?, size.number("width")?);
        if let (Some(height @ 1..), Some(width @ 1..), true) = (height, width, spec.tty) {
            spec.console_size = Some((height, width));
        }
        size.end();
    }
    spec.command = all.texts("args")?;
    for entry in all.texts("env")?.unwrap_or_default() {
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                spec.environment.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                return Err(wrong(
                    &all.name("env"),
                    format!("\"{}\" is not NAME=VALUE", entry.escape_default()),
                ));
            }
        }
    }
    spec.working_dir = Some(all.needed("cwd")?);
    let mut uid = 0;
    if let Some(mut user) = all.object("user")? {
        user.refuse(&["username"])?;
        uid = user.number::<u32>("uid")?.unwrap_or(0);
        spec.user = Some(format!("{uid}:{}", user.number::<u32>("gid")?.unwrap_or(0)));
        beyond.umask = user.number::<u32>("umask")?;
        if beyond.umask.is_some_and(|mask| mask > 0o777) {
            return Err(wrong(&user.name("umask"), "is more than 0777"));
        }
        let name = user.name("additionalGids");
        let gids = user.raw("additionalGids").unwrap_or(Value::Array(Vec::new()));
        let number = |value: &Value| value.as_u64().and_then(|gid| u32::try_from(gid).ok());
        let gids = gids.as_array().and_then(|all| all.iter().map(number).collect::<Option<Vec<u32>>>());
        let gids = gids.ok_or_else(|| wrong(&name, "is not a list of group ids"))?;
        spec.group_add = gids.iter().map(ToString::to_string).collect();
        user.end();
    }
    if let Some(sets) = all.object("capabilities")? {
        self::capabilities(sets, uid, spec, beyond)?;
    }
    for mut limit in all.objects("rlimits")? {
        let kind = limit.needed("type")?;
        let Some(name) = kind.strip_prefix("RLIMIT_") else {
            return Err(wrong(&limit.name("type"), format!("\"{}\" is no limit", kind.escape_default())));
        };
        let (soft, hard) = (limit.number::<u64>("soft")?, limit.number::<u64>("hard")?);
        let (Some(soft), Some(hard)) = (soft, hard) else {
            return Err(wrong(&limit.name(""), "soft or hard is missing"));
        };
        let value = |number: u64| if number == u64::MAX { "-1".to_owned() } else { number.to_string() };
        spec.ulimits.push(format!("{}={}:{}", name.to_ascii_lowercase(), value(soft), value(hard)));
        limit.end();
    }
    if let Some(held) = all.flag("noNewPrivileges")? {
        spec.security_opt.push(format!("no-new-privileges={held}"));
    }
    if let Some(profile) = all.text("apparmorProfile")?.filter(|profile| !profile.is_empty()) {
        spec.security_opt.push(format!("apparmor={profile}"));
    }
    spec.oom_score_adj = all.number("oomScoreAdj")?;
    all.end();
    Ok(())
}

fn capabilities(mut all: Fields<'_>, uid: u32, spec: &mut ContainerSpec, beyond: &mut Beyond) -> Result<()> {
    let mut masks = [0; 5];
    let names = ["bounding", "effective", "permitted", "inheritable", "ambient"];
    for (name, mask) in names.into_iter().zip(&mut masks) {
        let list = all.texts(name)?.unwrap_or_default();
        *mask = capabilities::from_lists(&list, &["ALL".to_owned()])
            .map_err(|error| wrong(&all.name(name), error.message()))?;
    }
    let [bounding, effective, permitted, inheritable, ambient] = masks;
    let differ = |name: &str, why: &str| Err(refused(&all.name(name), why));
    // Executing a program gives user 0 its bounding set, and any other user the ambient one.
    if uid == 0 && permitted != bounding {
        return differ("permitted", "differs from the bounding set, which is what user 0 has");
    }
    if effective != permitted {
        return differ("effective", "differs from the permitted set");
    }
    if inheritable & !ambient != 0 {
        return differ("inheritable", "has what is not ambient");
    }
    // The kernel has no ambient capability that is not inheritable.
    if ambient & !inheritable != 0 {
        all.note("ambient", &capabilities::names(ambient & !inheritable).join(" "));
    }
    let ambient = ambient & inheritable;
    if ambient & !(permitted & bounding) != 0 {
        return differ("ambient", "has what is not permitted");
    }
    spec.cap_add = capabilities::names(bounding);
    beyond.ambient = ambient;
    all.end();
    Ok(())
}

/// The mounts that every container has: place, types, options that say what is so anyway. A `*` stands for any value.
const OWN: &[(&str, &[&str], &[&str])] = &[
    ("/proc", &["proc"], &[]),
    ("/dev", &["tmpfs"], &["strictatime", "mode=755", "mode=0755", "size=*"]),
    ("/dev/pts", &["devpts"], &["newinstance", "ptmxmode=0666", "mode=0620", "mode=620", "gid=5"]),
    ("/dev/shm", &["tmpfs", "shm"], &["mode=1777", "size=*"]),
    ("/dev/mqueue", &["mqueue"], &[]),
    ("/sys", &["sysfs"], &["ro"]),
    ("/sys/fs/cgroup", &["cgroup", "cgroup2"], &["ro"]),
];
const ALWAYS: &[&str] = &["nosuid", "noexec", "nodev", "relatime", "rw", "private", "rprivate"];

fn mount(mut all: Fields<'_>, directory: &str, spec: &mut ContainerSpec) -> Result<()> {
    all.refuse(&["uidMappings", "gidMappings"])?;
    let target = all.needed("destination")?;
    let kind = all.text("type")?.unwrap_or_default();
    let source = all.text("source")?.unwrap_or_default();
    let mut options = all.texts("options")?.unwrap_or_default();
    let place = clean(&target);
    let is_bind = kind == "bind" || options.iter().any(|word| word == "bind" || word == "rbind");
    if let Some((_, _, known)) =
        OWN.iter().find(|(at, kinds, _)| *at == place && kinds.contains(&kind.as_str()))
    {
        own(&all, &place, &options, known, spec)?;
        all.end();
        return Ok(());
    }
    // As a caller without privileges has it, who cannot mount a sysfs.
    if is_bind && place == "/sys" && source == "/sys" && options.iter().any(|word| word == "ro") {
        all.end();
        return Ok(());
    }
    let mount = if is_bind {
        let source = if source.starts_with('/') { source } else { format!("{directory}/{source}") };
        let mut mount = Mount::bind(source, target);
        if let Some(at) = options.iter().position(|word| word == "rro") {
            options.remove(at);
            mount.read_only = true;
            mount.recursive = BindRecursive::ReadOnly;
        }
        let strict = mount.recursive == BindRecursive::ReadOnly;
        // There its own mappings are meant, which are refused, or those of a namespace that is.
        if options.iter().any(|word| word == "idmap") {
            return Err(refused(&all.name("options"), "\"idmap\" is not supported in a bundle"));
        }
        options.retain(|word| !(noted(&all, word) || strict && matches!(word.as_str(), "rbind" | "ro")));
        mount
            .bind_words(&words(&all, &options)?)
            .map_err(|error| refused(&all.name("options"), error.message()))?;
        mount
    } else if kind == "tmpfs" {
        let mut mount = Mount::tmpfs(target);
        options.retain(|word| !noted(&all, word) && !matches!(word.as_str(), "private" | "rprivate"));
        // Of a tmpfs that is asked for by a user everything is held back unless it is said; here nothing is.
        mount.options.extend(["exec", "suid", "dev"].map(str::to_owned));
        mount
            .tmpfs_words(&words(&all, &options)?)
            .map_err(|error| refused(&all.name("options"), error.message()))?;
        mount
    } else {
        let text = format!(
            "a file system of the type \"{}\" at \"{}\"",
            kind.escape_default(),
            place.escape_default()
        );
        return Err(refused(&all.name("type"), text));
    };
    debug_assert!(matches!(mount.kind, MountKind::Bind | MountKind::Tmpfs));
    spec.mounts.push(mount);
    all.end();
    Ok(())
}

/// Options in one text, as they stand behind a mount on a command line.
fn words(all: &Fields<'_>, options: &[String]) -> Result<String> {
    match options.iter().find(|word| word.contains(',')) {
        Some(word) => Err(wrong(&all.name("options"), format!("\"{}\" has a comma", word.escape_default()))),
        None => Ok(options.join(",")),
    }
}

/// What a mount may say about times of access, which is the same for all of them here.
fn noted(all: &Fields<'_>, word: &str) -> bool {
    let times = matches!(word, "relatime" | "strictatime" | "noatime" | "nodiratime" | "lazytime");
    if times && word != "relatime" {
        all.note("options", word);
    }
    times
}

/// A mount that every container has.
fn own(
    all: &Fields<'_>,
    place: &str,
    options: &[String],
    known: &[&str],
    spec: &mut ContainerSpec,
) -> Result<()> {
    for word in options {
        let same = |known: &&&str| match known.strip_suffix('*') {
            Some(start) => word.starts_with(start),
            None => *known == word,
        };
        if ALWAYS.iter().chain(known).find(same).is_none() {
            let text = format!("\"{}\" is not how \"{place}\" is mounted", word.escape_default());
            return Err(refused(&all.name("options"), text));
        }
    }
    let read_only = options.iter().any(|word| word == "ro");
    match place {
        "/dev/shm" => {
            if let Some(size) = options.iter().find_map(|word| word.strip_prefix("size=")) {
                let bytes = crate::container::parse::size(size);
                spec.shm_size = Some(bytes.map_err(|error| wrong(&all.name("options"), error.message()))?);
            }
        }
        "/sys" if !read_only => {
            return Err(refused(&all.name("options"), "\"/sys\" is read-only in a container"));
        }
        "/sys/fs/cgroup" if !read_only => spec.security_opt.push("writable-cgroups".to_owned()),
        _ => {}
    }
    Ok(())
}

fn linux(mut all: Fields<'_>, userns: Option<&UserNamespace>, spec: &mut ContainerSpec) -> Result<()> {
    all.refuse(&["timeOffsets", "netDevices", "intelRdt", "memoryPolicy", "mountLabel"])?;
    if let Some(text) = all.text("cgroupsPath")?.filter(|path| !path.is_empty()) {
        let text = format!("\"{}\" cannot be the container's cgroup itself", text.escape_default());
        return Err(refused(&all.name("cgroupsPath"), text)
            .with_hint("remove it, and say with cgroup_parent which cgroup the container's is in"));
    }
    if let Some(text) = all.text("rootfsPropagation")?
        && !matches!(text.as_str(), "" | "private" | "rprivate")
    {
        let text = format!("\"{}\": the mounts of a container are private", text.escape_default());
        return Err(refused(&all.name("rootfsPropagation"), text));
    }
    if let Some(mut personality) = all.object("personality")? {
        personality.refuse(&["flags"])?;
        match personality.text("domain")?.as_deref() {
            None | Some("" | "LINUX") => personality.end(),
            Some(_) => return Err(refused(&personality.name("domain"), "is not supported")),
        }
    }
    namespaces(&mut all, spec)?;
    for (key, is_user) in [("uidMappings", true), ("gidMappings", false)] {
        let lines = all.objects(key)?;
        if lines.is_empty() {
            continue;
        }
        let mut ranges = Vec::new();
        for mut line in lines {
            let mut one = |key: &str| {
                let number = line.number::<u32>(key)?;
                number.ok_or_else(|| wrong(&line.name(key), "is missing"))
            };
            ranges.push(IdRange {
                inside: one("containerID")?,
                outside: one("hostID")?,
                count: one("size")?,
            });
            line.end();
        }
        if userns.is_none_or(|userns| mapped(userns, is_user) != ranges) {
            let why = "is not how the ids of a container are mapped for this caller";
            return Err(refused(&all.name(key), why)
                .with_hint("remove them, and say with userns_mode, uidmap and gidmap which ids it has"));
        }
    }
    let devices = match all.object("resources")? {
        Some(resources) => self::resources(resources, spec)?,
        None => Vec::new(),
    };
    for device in all.objects("devices")? {
        self::device(device, &devices, spec)?;
    }
    spec.sysctls = all.map("sysctl")?;
    if let Some(profile) = all.raw("seccomp") {
        // What is no profile would be the name of a file that has one.
        if !profile.is_object() {
            return Err(wrong(&all.name("seccomp"), "is not an object"));
        }
        spec.security_opt.push(format!("seccomp={profile}"));
    }
    for (key, slot) in [("maskedPaths", &mut spec.masked_paths), ("readonlyPaths", &mut spec.readonly_paths)]
    {
        *slot = all.texts(key)?;
        for path in slot.iter().flatten() {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                let text = format!("\"{}\" is not an absolute path without \"..\"", path.escape_default());
                return Err(wrong(&all.name(key), text));
            }
        }
        if slot.as_ref().is_some_and(|paths| paths.len() > MOST_PATHS) {
            return Err(wrong(&all.name(key), format!("has more than {MOST_PATHS} paths")));
        }
    }
    all.end();
    Ok(())
}

fn namespaces(all: &mut Fields<'_>, spec: &mut ContainerSpec) -> Result<()> {
    let mut found: Vec<String> = Vec::new();
    for mut namespace in all.objects("namespaces")? {
        let kind = namespace.needed("type")?;
        if namespace.text("path")?.is_some_and(|path| !path.is_empty()) {
            return Err(refused(&namespace.name("path"), "a namespace by its path is not supported")
                .with_hint("remove it, and say with an option such as network=container:NAME whose it is"));
        }
        if found.contains(&kind) {
            return Err(wrong(
                &namespace.name("type"),
                format!("\"{}\" is there twice", kind.escape_default()),
            ));
        }
        if !matches!(kind.as_str(), "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup") {
            let text = format!("\"{}\" is not supported", kind.escape_default());
            return Err(refused(&namespace.name("type"), text));
        }
        namespace.end();
        found.push(kind);
    }
    let has = |kind: &str| found.iter().any(|found| found == kind);
    if !has("mount") {
        return Err(refused(&all.name("namespaces"), "a container has a mount namespace of its own"));
    }
    // What is not named is the host's, but for that of cgroups, which many configurations leave out and none needs: it is the container's own unless the caller says "host".
    if !has("network") {
        spec.network = NetworkMode::Host;
    }
    for (kind, mode) in
        [("pid", &mut spec.pid_mode), ("ipc", &mut spec.ipc_mode), ("uts", &mut spec.uts_mode)]
    {
        if !has(kind) {
            *mode = NamespaceMode::Host;
        }
    }
    Ok(())
}

/// A rule about devices that allows something: kind, numbers, access.
struct Allowed {
    kind: char,
    major: Option<u64>,
    minor: Option<u64>,
    access: String,
}

fn resources(mut all: Fields<'_>, spec: &mut ContainerSpec) -> Result<Vec<Allowed>> {
    all.refuse(&["hugepageLimits", "network", "rdma"])?;
    spec.unified = all.map("unified")?;
    if let Some(mut memory) = all.object("memory")? {
        memory.refuse(&["kernel", "kernelTCP", "checkBeforeUpdate"])?;
        // -1, and for some 0, is no limit.
        spec.mem_limit = memory
            .number::<i64>("limit")?
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        spec.mem_reservation = memory
            .number::<i64>("reservation")?
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        spec.memswap_limit =
            memory.number::<i64>("swap")?.filter(|limit| *limit != 0 && spec.mem_limit.is_some());
        spec.mem_swappiness = memory.number("swappiness")?;
        spec.oom_kill_disable = memory.flag("disableOOMKiller")?.unwrap_or(false);
        if memory.flag("useHierarchy")? == Some(false) {
            return Err(refused(&memory.name("useHierarchy"), "a limit holds for what is below it, too"));
        }
        memory.end();
    }
    if let Some(mut cpu) = all.object("cpu")? {
        cpu.refuse(&["burst", "realtimeRuntime", "realtimePeriod", "idle"])?;
        spec.cpu_shares = cpu.number("shares")?.filter(|shares| *shares != 0);
        spec.cpu_quota = cpu
            .number::<i64>("quota")?
            .and_then(|quota| u64::try_from(quota).ok())
            .filter(|quota| *quota > 0);
        spec.cpu_period = cpu.number("period")?.filter(|period| *period != 0);
        spec.cpuset_cpus = cpu.text("cpus")?.filter(|set| !set.is_empty());
        spec.cpuset_mems = cpu.text("mems")?.filter(|set| !set.is_empty());
        cpu.end();
    }
    if let Some(mut pids) = all.object("pids")? {
        spec.pids_limit = pids
            .number::<i64>("limit")?
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        pids.end();
    }
    if let Some(mut io) = all.object("blockIO")? {
        io.refuse(&[
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ])?;
        spec.blkio_weight = io.number("weight")?.filter(|weight| *weight != 0);
        io.end();
    }
    let mut allowed = Vec::new();
    for mut rule in all.objects("devices")? {
        let allow = rule.flag("allow")?.unwrap_or(false);
        let kind = rule.text("type")?.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "a".to_owned());
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let (major, minor) = (number(rule.number("major")?), number(rule.number("minor")?));
        let access =
            rule.text("access")?.filter(|access| !access.is_empty()).unwrap_or_else(|| "rwm".to_owned());
        let kind = match kind.as_str() {
            "a" => 'a',
            "c" | "u" => 'c',
            "b" => 'b',
            _ => {
                return Err(wrong(
                    &rule.name("type"),
                    format!("\"{}\" is no kind of device", kind.escape_default()),
                ));
            }
        };
        match allow {
            true => allowed.push(Allowed { kind, major, minor, access }),
            // What everything begins with.
            false if kind == 'a' && major.is_none() && minor.is_none() => allowed.clear(),
            false => {
                return Err(refused(
                    &rule.name("allow"),
                    "a rule that forbids some devices only is not supported",
                ));
            }
        }
        rule.end();
    }
    for Allowed { kind, major, minor, access } in &allowed {
        let text = |number: &Option<u64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        spec.device_cgroup_rules.push(format!("{kind} {}:{} {access}", text(major), text(minor)));
    }
    all.end();
    Ok(allowed)
}

/// A device node: one that every container has, or one of this host's, by its path.
fn device(mut all: Fields<'_>, allowed: &[Allowed], spec: &mut ContainerSpec) -> Result<()> {
    let path = all.needed("path")?;
    let kind = all.needed("type")?;
    let (major, minor) = (all.number::<u32>("major")?.unwrap_or(0), all.number::<u32>("minor")?.unwrap_or(0));
    let (mode, uid, gid) =
        (all.number::<u32>("fileMode")?, all.number::<u32>("uid")?, all.number::<u32>("gid")?);
    let own = |device: &coble_protocol::Device| {
        clean(&path) == format!("/dev/{}", device.name) && (major, minor) == (device.major, device.minor)
    };
    if defaults::default_devices().iter().any(own) {
        all.end();
        return Ok(());
    }
    let none = |why: &str| Err(refused(&all.name(""), format!("\"{}\": {why}", path.escape_default())));
    let Ok(found) = std::fs::symlink_metadata(&path) else { return none("this host has no such device") };
    let is_block = found.file_type().is_block_device();
    let same = match kind.as_str() {
        "c" | "u" => found.file_type().is_char_device(),
        "b" => is_block,
        _ => false,
    };
    let numbers = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    if !same || numbers != (major, minor) {
        return none("what this host has there is another device");
    }
    let differs = |asked: Option<u32>, is: u32| asked.is_some_and(|asked| asked != is);
    if differs(mode.map(|mode| mode & 0o7777), found.mode() & 0o7777)
        || differs(uid, found.uid())
        || differs(gid, found.gid())
    {
        return none("this host's has another mode or owner, and the container's is that one");
    }
    let covers = |rule: &&Allowed| {
        let is = |wanted: Option<u64>, number: u32| wanted.is_none_or(|wanted| wanted == u64::from(number));
        (rule.kind == 'a' || rule.kind == if is_block { 'b' } else { 'c' })
            && is(rule.major, major)
            && is(rule.minor, minor)
    };
    let may = |letter: &char| allowed.iter().filter(covers).any(|rule| rule.access.contains(*letter));
    let access: String = ['r', 'w', 'm'].iter().filter(|letter| may(letter)).collect();
    if access.is_empty() {
        return none("no rule of linux.resources.devices allows it");
    }
    spec.devices.push(format!("{path}:{path}:{access}"));
    all.end();
    Ok(())
}

/// For the fuzzer: any text is options or an error. Whether it is options.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) -> bool {
    let userns = UserNamespace::Single { uid: 1000, gid: 1000 };
    let Ok(read) = read(text, "/bundle", Some(&userns)) else { return false };
    let merged = super::merged(read.spec, ContainerSpec::of_rootfs("/rootfs"));
    merged.is_ok_and(|spec| crate::container::validate::spec(&spec).is_ok())
}
