//! Sending a manifest: under its digest, under a tag, or under several tags with one request, where the registry has learnt to do that.

use std::collections::HashSet;

use ureq::http::header::CONTENT_TYPE;
use ureq::http::{Method, StatusCode};

use super::answer::refused;
use super::client::Client;
use super::header::parts;
use super::manifest::{digest_of, subject_of};
use super::net::{Answer, encode};
use super::server::Body;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Hasher};

/// So many tags of one request are what every registry that takes several should take.
const TAGS_AT_ONCE: usize = 10;

/// A manifest on its way.
struct Sent<'b> {
    digest: Digest,
    media_type: &'b str,
    bytes: &'b [u8],
    /// Whether the registry has said that it lists what refers to the subject of the manifest.
    knows_subject: bool,
}

/// What a registry answered to several tags at once.
enum Taken {
    /// The tags that are set now.
    Tags(HashSet<String>),
    /// It does not know this way.
    Nothing,
}

impl Client<'_> {
    /// Sends a manifest or index, as the bytes are.
    pub(crate) fn put_manifest(&self, tag_or_digest: &str, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let digest = match digest_of(tag_or_digest)? {
            None => Digest::of(bytes),
            Some(wanted) => {
                let mut hasher = Hasher::new(wanted.algorithm());
                hasher.update(bytes);
                let digest = hasher.finish();
                if digest != wanted {
                    let text = format!("a manifest to be sent as \"{wanted}\" has the digest \"{digest}\"");
                    return Err(Error::new(ErrorKind::DigestMismatch, text).with_object(tag_or_digest));
                }
                digest
            }
        };
        let mut sent = Sent { digest, media_type, bytes, knows_subject: false };
        self.put_one(&mut sent, tag_or_digest)?;
        self.list_subject(sent)
    }

    /// Sends a manifest or index, as the bytes are, under all of the tags. A registry says which of them it has set; each of the others takes a request of
    /// its own, as all do with a registry that does not know several at once.
    pub(crate) fn put_tagged(&self, tags: &[String], media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let mut sent = Sent { digest: Digest::of(bytes), media_type, bytes, knows_subject: false };
        let mut able = true;
        for some in tags.chunks(TAGS_AT_ONCE) {
            let mut taken = HashSet::new();
            if able && some.len() > 1 {
                match self.put_several(&mut sent, some)? {
                    Taken::Tags(tags) => {
                        able = !tags.is_empty();
                        taken = tags;
                    }
                    Taken::Nothing => able = false,
                }
            }
            for tag in some.iter().filter(|tag| !taken.contains(*tag)) {
                self.put_one(&mut sent, tag)?;
            }
        }
        self.list_subject(sent)
    }

    fn put_one(&self, sent: &mut Sent<'_>, tag_or_digest: &str) -> Result<()> {
        let answer = self.persist(tag_or_digest, || {
            let answer = self.put(sent, &format!("manifests/{tag_or_digest}"))?;
            if is_stored(&answer) { Ok(answer) } else { Err(refused(answer, &self.name_of(tag_or_digest))) }
        })?;
        self.check_stored(sent, answer, tag_or_digest)
    }

    fn put_several(&self, sent: &mut Sent<'_>, tags: &[String]) -> Result<Taken> {
        let digest = sent.digest.to_string();
        let tags: Vec<String> = tags.iter().map(|tag| format!("tag={}", encode(tag))).collect();
        let rest = format!("manifests/{digest}?{}", tags.join("&"));
        let answer = self.persist(&digest, || {
            let answer = self.put(sent, &rest)?;
            match answer.status {
                _ if is_stored(&answer) => Ok(Some(answer)),
                // Registries that do not know this way have many words for it. If it is the manifest that they do not want, they say so of a tag.
                StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::URI_TOO_LONG
                | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                | StatusCode::NOT_IMPLEMENTED => {
                    answer.discard();
                    Ok(None)
                }
                _ => Err(refused(answer, &self.name_of(&digest))),
            }
        })?;
        let Some(answer) = answer else { return Ok(Taken::Nothing) };
        let values = answer.headers.get_all("oci-tag").iter().filter_map(|value| value.to_str().ok());
        let taken = values.flat_map(parts).map(str::to_owned).collect();
        self.check_stored(sent, answer, &digest)?;
        Ok(Taken::Tags(taken))
    }

    fn put(&self, sent: &Sent<'_>, rest: &str) -> Result<Answer> {
        let server = self.origin()?;
        let ask = self
            .request(server, Method::PUT, rest)?
            .header(CONTENT_TYPE, sent.media_type)
            .body(Body::Bytes(sent.bytes));
        self.ask(server, &ask)
    }

    /// Whether it was stored as what it is.
    fn check_stored(&self, sent: &mut Sent<'_>, answer: Answer, tag_or_digest: &str) -> Result<()> {
        let own = &sent.digest;
        let stored = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
        if let Some(stored) = stored.filter(|stored| stored.algorithm() == own.algorithm() && stored != own) {
            let authority = answer.origin().authority();
            let text = format!("\"{authority}\" stored a manifest as \"{stored}\", not as \"{own}\"");
            return Err(Error::new(ErrorKind::DigestMismatch, text).with_object(self.name_of(tag_or_digest)));
        }
        sent.knows_subject |= answer.header("oci-subject").is_some();
        answer.discard();
        Ok(())
    }

    /// Lists a manifest with a subject, for a registry that does not do so.
    fn list_subject(&self, sent: Sent<'_>) -> Result<Digest> {
        if let Some(subject) = subject_of(sent.bytes).filter(|_| !sent.knows_subject) {
            self.list_referrer(&subject, &sent.digest, sent.media_type, sent.bytes)?;
        }
        Ok(sent.digest)
    }
}

fn is_stored(answer: &Answer) -> bool {
    matches!(
        answer.status,
        StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT
    )
}
