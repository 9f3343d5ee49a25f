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
