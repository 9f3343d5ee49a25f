//! What the fuzz targets in `core/fuzz` do with their input: parsers of what strangers say. A panic is a finding, and errors are fine. The tests below do the
//! same on inputs that are damaged in fixed ways.

use crate::distribution;
use crate::oci::Reference;

/// An image reference: what is taken has one canonical form, which is taken again and means the same. Whether it was taken.
pub fn reference(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let _ = (Reference::names_domain(text), Reference::names_tag(text));
    let Ok(parsed) = Reference::parse(text) else { return false };
    for form in [parsed.to_string(), parsed.familiar()] {
        let again = Reference::parse(&form);
        assert!(again.is_ok_and(|again| again == parsed), "{text:?} is {form:?}, which is something else");
    }
    // What it becomes parts of: paths of URLs, keys of files.
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
    assert!(parsed.repository().chars().all(harmless));
    assert!(!parsed.path().split('/').any(|part| part.is_empty() || part.starts_with('.')));
    true
}

/// What a registry says in its answers. Whether any of it was understood.
pub fn answer(input: &[u8]) -> bool {
    distribution::fuzz_answer(input)
}

/// A seccomp profile in docker's JSON format. Whether it is one.
pub fn seccomp_profile(input: &[u8]) -> bool {
    crate::isolation::seccomp::fuzz_profile(input)
}

/// The configuration of an OCI bundle. Whether it is one that a container can be made of.
pub fn bundle(input: &[u8]) -> bool {
    std::str::from_utf8(input).is_ok_and(crate::container::fuzz_bundle)
}

/// The words for a mount: what is taken is checked without a panic. Whether any of the words were taken.
pub fn mount(input: &[u8]) -> bool {
    use crate::container::parse;

    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut spec = crate::ContainerSpec::new("image");
    spec.volumes.extend(parse::volume(text));
    spec.mounts.extend(parse::mount(text));
    spec.tmpfs.extend(parse::tmpfs(text));
    let taken = !spec.volumes.is_empty() || !spec.mounts.is_empty() || !spec.tmpfs.is_empty();
    if crate::container::validate::spec(&spec).is_ok() {
        for mount in crate::container::mount::all(&spec) {
            assert!(mount.target.starts_with('/') && mount.target != "/" && !mount.target.contains("/../"));
        }
    }
    spec.devices = vec![text.to_owned()];
    spec.device_cgroup_rules = vec![text.to_owned()];
    let _ = crate::isolation::devices::check(&spec);
    taken
}

#[cfg(test)]
mod tests {
    /// Small numbers that look random, the same each time.
    struct Xorshift(u64);

    impl Xorshift {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end.max(1) as u64) as usize
        }
    }

    /// Runs a body on damaged inputs, and says how many it took.
    fn run(corpus: &[&str], alphabet: &[u8], rounds: usize, body: impl Fn(&[u8]) -> bool) -> usize {
        let mut random = Xorshift(0x1234_5678_9abc_def1);
        (0..rounds)
            .filter(|round| {
                let mut input = corpus[round % corpus.len()].as_bytes().to_vec();
                for _ in 0..random.below(4) {
                    let at = random.below(input.len());
                    let byte = if random.below(8) == 0 {
                        random.below(256) as u8
                    } else {
                        alphabet[random.below(alphabet.len())]
                    };
                    match random.below(4) {
                        0 => input.truncate(at + 1),
                        1 => input.insert(at, byte),
                        2 => input.extend_from_slice(corpus[random.below(corpus.len())].as_bytes()),
                        _ => input[at] = byte,
                    }
                }
                body(&input)
            })
            .count()
    }

    #[test]
    fn references() {
        let digest = format!("debian@sha256:{}", "ab".repeat(32));
        let corpus = [
            "debian",
            "docker.io/library/debian:12",
            "reg.example:5000/a/b__c-d.e:V1.0_x",
            "[2001:db8::1]:5000/app",
            "localhost/a",
            "index.docker.io/a",
            &digest,
        ];
        let taken = run(&corpus, b"aZ0._-/:@[]% \0", 60_000, super::reference);
        assert!((10_000..50_000).contains(&taken), "{taken}");
    }

    #[test]
    fn seccomp_profiles() {
        let corpus = [
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],"syscalls":[{"names":["read","write","exit_group"],"action":"SCMP_ACT_ALLOW"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"clone","action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"},{"index":1,"value":7,"op":"SCMP_CMP_GT"}],"includes":{"caps":["CAP_SYS_ADMIN"],"arches":["amd64"],"minKernel":"4.8"},"excludes":{}}]}"#,
        ];
        let taken = run(&corpus, b"{}[]\",:0129-aESC_x", 4_000, super::seccomp_profile);
        assert!((300..3_900).contains(&taken), "{taken}");
    }

    #[test]
    fn bundles() {
        let corpus = [
            r#"{"ociVersion":"1.2.0","process":{"terminal":true,"consoleSize":{"height":2,"width":9},"user":{"uid":0,"gid":0,"umask":18,"additionalGids":[1]},"args":["sh"],"env":["A=b"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":9,"soft":9}],"noNewPrivileges":true},"root":{"path":"rootfs","readonly":true},"hostname":"h","mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/x","type":"tmpfs","options":["size=1m","noexec"]}],"linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"}]}}"#,
            r#"{"ociVersion":"1.0.2-dev","root":{"path":"/r"},"process":{"cwd":"/","args":["a"],"oomScoreAdj":-5},"annotations":{"a":"b"},"linux":{"resources":{"devices":[{"allow":false},{"allow":true,"type":"c","major":10,"minor":-1,"access":"rw"}],"memory":{"limit":9999999,"swap":-1},"cpu":{"shares":512,"quota":-1,"cpus":"0"},"pids":{"limit":5},"unified":{"memory.high":"1"}},"namespaces":[{"type":"mount"},{"type":"network"},{"type":"ipc"}],"maskedPaths":["/a"],"readonlyPaths":[],"sysctl":{"net.core.somaxconn":"9"},"uidMappings":[{"containerID":0,"hostID":1000,"size":1}]}}"#,
        ];
        let taken = run(&corpus, b"{}[]\",:0129-aSC_x", 8_000, super::bundle);
        assert!((1_500..7_900).contains(&taken), "{taken}");
    }

    #[test]
    fn mounts() {
        let corpus = [
            "/a:/b:ro,rslave,z",
            "name:/x",
            "type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared,bind-recursive=writable",
            "type=tmpfs,\"dst=/a,b\",tmpfs-size=1m,tmpfs-mode=1777",
            "/run:size=10%,mode=700,uid=0,noexec",
            "/dev/fuse:/dev/x:rwm",
            "c 10:* rwm",
        ];
        let taken = run(&corpus, b"/:=,\".aro0%* \0", 60_000, super::mount);
        assert!((5_000..59_000).contains(&taken), "{taken}");
    }

    #[test]
    fn answers() {
        let corpus = [
            r#"Bearer realm="https://auth.example/token",service="s",scope="repository:a/b:pull,push""#,
            r#"Negotiate abc==, Basic realm="a, \"b\"", Bearer realm=x"#,
            r#"299 - "a \"warning\"""#,
            "/v2/a/b/blobs/uploads/x?state=1#y",
            "../x/./y/../../z?q",
            "//other.example:8443/x",
            "https://[::1]:5000/x?y",
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            r#"{"errors":[{"code":"DENIED","message":"no","detail":{}}]}"#,
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "120",
            "bytes 10-19/20",
            r#"[[registry]]"#,
        ];
        let taken = run(&corpus, b"aB0\"\\,=<>{}[]:/?#.- \t\n", 60_000, super::answer);
        assert!(taken > 5_000, "{taken}");
    }
}
