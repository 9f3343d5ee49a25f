//! The forms that manifests and indexes come in: OCI's, and docker's schema 2 with its manifest lists. One is made of the other by its words alone:
//! configurations and layers stay the bytes that they are, and what is in the wanted form already is not touched. Not for content, which is
//! compressed anew elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::container::Warning;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, media_type};
use crate::state::images::Document;

/// What a digest in the annotations of an attestation is called.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Oci,
    V2s2,
}

impl Form {
    /// `oci` or `v2s2`.
    pub(super) fn parse(text: &str) -> Result<Form> {
        match text {
            "oci" => Ok(Form::Oci),
            "v2s2" => Ok(Form::V2s2),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown manifest format \"{}\"", text.escape_debug()),
            )
            .with_object(text)
            .with_hint("use oci or v2s2")),
        }
    }

    /// The type of its indexes.
    pub(super) fn index_type(self) -> &'static str {
        match self {
            Form::Oci => media_type::INDEX,
            Form::V2s2 => media_type::DOCKER_LIST,
        }
    }

    fn manifest_type(self) -> &'static str {
        match self {
            Form::Oci => media_type::MANIFEST,
            Form::V2s2 => media_type::DOCKER_MANIFEST,
        }
    }
}

/// What got lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// What docker's form has no place for, by its name.
    fields: BTreeSet<String>,
    attestations: usize,
}

impl Losses {
    /// What the caller is told.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.fields.is_empty() {
            let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
            let message =
                format!("docker's manifests have no place for {}, which are left out", fields.join(", "));
            warnings.push(Warning { code: "annotations-dropped".into(), message });
        }
        if self.attestations > 0 {
            let message = format!(
                "attestations ({}) are left out, which docker's manifest lists have no place for",
                self.attestations
            );
            warnings.push(Warning { code: "attestations-dropped".into(), message });
        }
        warnings
    }

    /// Takes out what has no place. Only the names that are known are told: the others may be anything.
    fn keep(&mut self, object: &mut Map<String, Value>, known: &[&str]) {
        let lost: Vec<String> =
            object.keys().filter(|name| !known.contains(&name.as_str())).cloned().collect();
        for name in lost {
            let value = object.shift_remove(&name);
            let empty = match &value {
                None | Some(Value::Null) => true,
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                Some(_) => false,
            };
            match name.as_str() {
                _ if empty => {}
                // What is embedded is a copy.
                "data" => {}
                "annotations" => drop(self.fields.insert("annotations".into())),
                _ => drop(self.fields.insert("other fields".into())),
            }
        }
    }
}

/// A document in another form.
struct Work<'a> {
    document: &'a Document,
    value: Map<String, Value>,
    changed: bool,
}

impl<'a> Work<'a> {
    fn begin(document: &'a Document) -> Result<Work<'a>> {
        match serde_json::from_slice(&document.bytes) {
            Ok(Value::Object(value)) => Ok(Work { document, value, changed: false }),
            _ => Err(invalid(&document.digest, "it is not a JSON object")),
        }
    }

    fn refused(&self, why: &str) -> Error {
        refused(&self.document.digest, why)
    }

    /// Gives it a type, where it belongs for people who read it.
    fn set_type(&mut self, wanted: &str) {
        let own = self.value.get("mediaType").and_then(Value::as_str);
        if self.document.media_type == wanted && own.is_none_or(|own| own == wanted) {
            return;
        }
        self.changed = true;
        match self.value.get_mut("mediaType") {
            Some(own) => *own = json!(wanted),
            None => {
                let place = self.value.len().min(1);
                self.value.shift_insert(place, "mediaType".into(), json!(wanted));
            }
        }
    }

    /// The descriptors of a list.
    fn list(&mut self, name: &str) -> Result<Vec<&mut Map<String, Value>>> {
        let digest = &self.document.digest;
        let mut descriptors = Vec::new();
        match self.value.get_mut(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => {
                for one in list {
                    let Value::Object(one) = one else {
                        return Err(invalid(digest, &format!("its {name} are no descriptors")));
                    };
                    descriptors.push(one);
                }
            }
            Some(_) => return Err(invalid(digest, &format!("its {name} are no list"))),
        }
        Ok(descriptors)
    }

    fn done(self) -> Result<Option<Document>> {
        if !self.changed {
            return Ok(None);
        }
        let media_type = match self.value.get("mediaType") {
            Some(Value::String(text)) => text.clone(),
            _ => self.document.media_type.clone(),
        };
        let bytes = crate::image::to_json(&self.value)?;
        Ok(Some(Document { digest: Digest::of(&bytes), media_type, bytes }))
    }
}

/// A manifest in a form; None if it is in that form already.
pub(super) fn manifest(document: &Document, form: Form, losses: &mut Losses) -> Result<Option<Document>> {
    let mut work = Work::begin(document)?;
    let is_docker = document.media_type == media_type::DOCKER_MANIFEST;
    if !is_docker && document.media_type != media_type::MANIFEST {
        let shown: String = document.media_type.chars().take(120).collect();
        let why = format!("manifests of type \"{}\" have no other form", shown.escape_debug());
        return Err(work.refused(&why));
    }
    let config = text(work.value.get("config"), "mediaType").unwrap_or_default().to_owned();
    let is_image = matches!(config.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG);
    if form == Form::V2s2 && !is_docker {
        let has = |name: &str| work.value.get(name).is_some_and(|value| !value.is_null());
        if !is_image || has("artifactType") {
            return Err(work.refused("it is an artifact, not an image, which docker's form is not for"));
        }
        if has("subject") {
            return Err(work.refused("it refers to another manifest, which docker's form has no place for"));
        }
    }
    work.set_type(form.manifest_type());
    let mut changed = work.changed;
    if is_image && let Some(Value::Object(config)) = work.value.get_mut("config") {
        let wanted = match form {
            Form::Oci => media_type::CONFIG,
            Form::V2s2 => media_type::DOCKER_CONFIG,
        };
        changed |= set(config, "mediaType", json!(wanted));
    }
    let digest = &document.digest;
    for layer in work.list("layers")? {
        let Some(Value::String(own)) = layer.get("mediaType") else {
            return Err(invalid(digest, "a layer has no media type"));
        };
        let wanted = match form {
            Form::Oci => media_type::oci_layer(own).to_owned(),
            Form::V2s2 => match media_type::docker_layer(own) {
                Some(wanted) => wanted.to_owned(),
                None if media_type::is_zstd(own) => return Err(zstd(digest)),
                // Whatever it is, it is docker's own, as that of a plugin.
                None if is_docker => own.clone(),
                None => {
                    let shown: String = own.chars().take(120).collect();
                    let why = format!("docker's form has no layers of type \"{}\"", shown.escape_debug());
                    return Err(refused(digest, &why));
                }
            },
        };
        changed |= set(layer, "mediaType", json!(wanted));
    }
    work.changed = changed;
    if changed && form == Form::V2s2 {
        losses.keep(&mut work.value, &["schemaVersion", "mediaType", "config", "layers"]);
        if let Some(Value::Object(config)) = work.value.get_mut("config") {
            losses.keep(config, &["mediaType", "digest", "size"]);
        }
        for layer in work.list("layers")? {
            losses.keep(layer, &["mediaType", "digest", "size", "urls"]);
        }
    }
    work.done()
}

/// What became of the manifests of an index, by the digests that they had.
pub(super) type Converted = BTreeMap<Digest, Document>;

/// An index in a form, whose manifests have been put into it before; None if it is in that form already. Of the manifests that are not among `converted` none is kept.
pub(super) fn index(
    document: &Document,
    form: Form,
    converted: &Converted,
    losses: &mut Losses,
) -> Result<Option<Document>> {
    let mut work = Work::begin(document)?;
    if !matches!(document.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST) {
        let shown: String = document.media_type.chars().take(120).collect();
        let why = format!("indexes of type \"{}\" have no other form", shown.escape_debug());
        return Err(work.refused(&why));
    }
    if form == Form::V2s2 && document.media_type == media_type::INDEX {
        let has = |name: &str| work.value.get(name).is_some_and(|value| !value.is_null());
        if has("artifactType") || has("subject") {
            return Err(work.refused("it is an artifact, which docker's form is not for"));
        }
    }
    work.set_type(form.index_type());
    let mut changed = work.changed;
    let digest = document.digest.clone();
    let mut kept = Vec::new();
    for (place, entry) in work.list("manifests")?.into_iter().enumerate() {
        let own: Descriptor = serde_json::from_value(Value::Object(entry.clone()))
            .map_err(|error| invalid(&digest, &error.to_string()))?;
        let Some(made) = converted.get(&own.digest) else {
            changed = true;
            continue;
        };
        kept.push(place);
        if let Some(Value::Object(annotations)) = entry.get_mut("annotations")
            && let Some(attested) = text_of(annotations, ATTESTED).and_then(|text| Digest::parse(text).ok())
            && let Some(made) = converted.get(&attested)
        {
            changed |= set(annotations, ATTESTED, json!(made.digest.as_str()));
        }
        if made.digest != own.digest || made.media_type != own.media_type {
            changed = true;
            set(entry, "mediaType", json!(made.media_type));
            set(entry, "digest", json!(made.digest.as_str()));
            set(entry, "size", json!(made.bytes.len()));
            // What was embedded is another one.
            entry.shift_remove("data");
        }
    }
    if kept.is_empty() {
        return Err(work.refused("there is no image in it"));
    }
    if let Some(Value::Array(list)) = work.value.get_mut("manifests") {
        let mut place = 0;
        list.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
    }
    work.changed = changed;
    if changed && form == Form::V2s2 {
        losses.keep(&mut work.value, &["schemaVersion", "mediaType", "manifests"]);
        for entry in work.list("manifests")? {
            losses.keep(entry, &["mediaType", "digest", "size", "platform", "urls"]);
        }
    }
    work.done()
}

/// Whether an entry of an index goes along, which attestations do not into docker's form: nobody looks for them there, and what they are about has another digest.
pub(super) fn goes(entry: &Descriptor, form: Form, losses: &mut Losses) -> bool {
    let left = form == Form::V2s2 && entry.is_attestation();
    losses.attestations += usize::from(left);
    !left
}

/// A manifest with other layers: those at these places.
pub(super) fn with_layers(document: Document, changes: &[(usize, Descriptor)]) -> Result<Document> {
    if changes.is_empty() {
        return Ok(document);
    }
    let mut work = Work::begin(&document)?;
    for (place, descriptor) in changes {
        let made = serde_json::to_value(descriptor)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("writing JSON: {error}")))?;
        let layer = work.value.get_mut("layers").and_then(|layers| layers.get_mut(*place));
        *layer.ok_or_else(|| invalid(&document.digest, "it has fewer layers than its image"))? = made;
        work.changed = true;
    }
    Ok(work.done()?.unwrap_or(document))
}

/// Sets a field, and says whether it was another one.
fn set(object: &mut Map<String, Value>, name: &str, value: Value) -> bool {
    let known = object.insert(name.into(), value);
    known.as_ref() != object.get(name)
}

fn text<'v>(value: Option<&'v Value>, name: &str) -> Option<&'v str> {
    value.and_then(|value| value.get(name)).and_then(Value::as_str)
}

fn text_of<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

fn invalid(digest: &Digest, why: &str) -> Error {
    Error::new(ErrorKind::InvalidImage, format!("{digest}: {why}")).with_object(digest.as_str())
}

fn refused(digest: &Digest, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{digest} cannot be converted: {why}"))
        .with_object(digest.as_str())
        .with_hint("without a format it goes as it is")
}

/// The error for a layer that would have to be compressed anew where nothing is unpacked.
fn zstd(digest: &Digest) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{digest} cannot be converted: docker's form has no layers that are compressed with zstd"),
    )
    .with_object(digest.as_str())
    .with_hint("pull it, and push it with the format: that compresses such layers anew, with gzip")
}

/// Whatever it is, what comes of it is in the form.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) -> bool {
    let mut any = false;
    for kind in
        [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_LIST]
    {
        let before = Document { digest: Digest::of(bytes), media_type: kind.into(), bytes: bytes.to_vec() };
        for form in [Form::Oci, Form::V2s2] {
            let mut losses = Losses::default();
            any |= index(&before, form, &Converted::new(), &mut losses).is_ok();
            if let Ok(Some(after)) = manifest(&before, form, &mut losses) {
                any = true;
                assert!(matches!(manifest(&after, form, &mut losses), Ok(None)));
            }
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: &Value, media_type: &str) -> Document {
        let bytes = serde_json::to_vec(value).unwrap();
        Document { digest: Digest::of(&bytes), media_type: media_type.into(), bytes }
    }

    fn descriptor(media_type: &str, text: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(text.as_bytes()).as_str(), "size": text.len()})
    }

    fn image(layers: &[&str]) -> Value {
        let layers: Vec<Value> = layers.iter().map(|kind| descriptor(kind, kind)).collect();
        json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": descriptor(media_type::CONFIG, "c"), "layers": layers})
    }

    fn value(document: &Document) -> Value {
        serde_json::from_slice(&document.bytes).unwrap()
    }

    fn codes(losses: &Losses) -> Vec<String> {
        losses.warnings().into_iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn there_and_back_again() {
        let types =
            [media_type::LAYER, media_type::LAYER_GZIP, media_type::FOREIGN, media_type::FOREIGN_GZIP];
        let mut whole = image(&types);
        whole["layers"][3]["urls"] = json!(["https://away.example/layer"]);
        let before = document(&whole, media_type::MANIFEST);
        let mut losses = Losses::default();
        let docker = manifest(&before, Form::V2s2, &mut losses).unwrap().unwrap();
        assert!(codes(&losses).is_empty());
        assert_eq!(
            (docker.media_type.as_str(), &docker.digest),
            (media_type::DOCKER_MANIFEST, &Digest::of(&docker.bytes))
        );
        let found = value(&docker);
        assert_eq!(found["mediaType"], media_type::DOCKER_MANIFEST);
        assert_eq!(found["config"], descriptor(media_type::DOCKER_CONFIG, "c"));
        let kinds: Vec<&str> = found["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap())
            .collect();
        let wanted = [
            media_type::DOCKER_LAYER,
            media_type::DOCKER_LAYER_GZIP,
            media_type::DOCKER_FOREIGN,
            media_type::DOCKER_FOREIGN_GZIP,
        ];
        assert_eq!(kinds, wanted);
        assert_eq!(found["layers"][3]["urls"], whole["layers"][3]["urls"]);
        let back = manifest(&docker, Form::Oci, &mut losses).unwrap().unwrap();
        assert_eq!(back.bytes, before.bytes);
        // What is in the form already is not touched, whatever else it has.
        for (form, same) in [(Form::Oci, &before), (Form::V2s2, &docker)] {
            assert_eq!(manifest(same, form, &mut losses).unwrap(), None);
            let mut more = value(same);
            more["annotations"] = json!({"a": "b"});
            assert_eq!(manifest(&document(&more, &same.media_type), form, &mut losses).unwrap(), None);
        }
        assert!(codes(&losses).is_empty());
        // One that says nothing of its type says it afterwards.
        whole.as_object_mut().unwrap().shift_remove("mediaType");
        let untold = document(&whole, media_type::MANIFEST);
        assert_eq!(manifest(&untold, Form::Oci, &mut losses).unwrap(), None);
        let told = manifest(&untold, Form::V2s2, &mut losses).unwrap().unwrap();
        assert_eq!(value(&told), found);
    }

    #[test]
    fn what_has_no_place_is_left_out_and_told() {
        let mut whole = image(&[media_type::LAYER_GZIP]);
        whole["annotations"] = json!({"a": "b"});
        whole["layers"][0]["annotations"] = json!({"c": "d"});
        whole["config"]["data"] = json!("Yw==");
        whole["vendor"] = json!(7);
        let mut losses = Losses::default();
        let found = value(
            &manifest(&document(&whole, media_type::MANIFEST), Form::V2s2, &mut losses).unwrap().unwrap(),
        );
        assert_eq!(found["config"], descriptor(media_type::DOCKER_CONFIG, "c"));
        assert_eq!(found["layers"][0], descriptor(media_type::DOCKER_LAYER_GZIP, media_type::LAYER_GZIP));
        assert!(found.get("annotations").is_none() && found.get("vendor").is_none());
        assert_eq!(codes(&losses), ["annotations-dropped"]);
        assert!(losses.warnings()[0].message.contains("annotations, other fields"));
    }

    #[test]
    fn artifacts_and_zstd_are_refused() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut whole = image(&[media_type::LAYER_GZIP]);
            change(&mut whole);
            manifest(&document(&whole, media_type::MANIFEST), Form::V2s2, &mut Losses::default()).unwrap_err()
        };
        let changes: [&dyn Fn(&mut Value); 6] = [
            &|whole| whole["artifactType"] = json!("application/vnd.test"),
            &|whole| whole["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"),
            &|whole| whole["subject"] = descriptor(media_type::MANIFEST, "m"),
            &|whole| whole["layers"][0]["mediaType"] = json!("application/vnd.in-toto+json"),
            &|whole| whole["layers"][0]["mediaType"] = json!(media_type::LAYER_ZSTD),
            &|whole| whole["layers"][0]["mediaType"] = json!(media_type::FOREIGN_ZSTD),
        ];
        for change in changes {
            assert_eq!(refused(change).kind(), ErrorKind::Unsupported);
        }
        let other = document(&image(&[]), "application/vnd.test");
        for form in [Form::Oci, Form::V2s2] {
            assert_eq!(
                manifest(&other, form, &mut Losses::default()).unwrap_err().kind(),
                ErrorKind::Unsupported
            );
        }
        // An artifact has no need of docker's form in OCI's.
        let mut artifact = image(&["application/vnd.test"]);
        artifact["config"]["mediaType"] = json!("application/vnd.test");
        artifact["mediaType"] = json!(media_type::DOCKER_MANIFEST);
        let made =
            manifest(&document(&artifact, media_type::DOCKER_MANIFEST), Form::Oci, &mut Losses::default())
                .unwrap()
                .unwrap();
        artifact["mediaType"] = json!(media_type::MANIFEST);
        assert_eq!(value(&made), artifact);
    }

    #[test]
    fn other_layers_are_put_in_their_places() {
        let mut whole = image(&[media_type::LAYER_GZIP, media_type::FOREIGN, media_type::LAYER_ZSTD]);
        whole["annotations"] = json!({"a": "b"});
        let before = document(&whole, media_type::MANIFEST);
        let layer = Descriptor::new(media_type::LAYER_GZIP, Digest::of(b"new"), 3);
        let changes = [(2, layer.clone()), (0, layer.clone())];
        let after = with_layers(before.clone(), &changes).unwrap();
        let new = descriptor(media_type::LAYER_GZIP, "new");
        whole["layers"][0] = new.clone();
        whole["layers"][2] = new;
        assert_eq!((value(&after), &after.digest), (whole, &Digest::of(&after.bytes)));
        assert_eq!(with_layers(before.clone(), &[]).unwrap(), before);
        assert!(with_layers(before, &[(3, layer)]).is_err());
    }

    #[test]
    fn malformed_documents_are_errors() {
        for json in [
            json!([]),
            json!({"layers": 3}),
            json!({"layers": [3]}),
            json!({"layers": [{}]}),
            json!({"config": {"mediaType": media_type::CONFIG}, "layers": [{}]}),
        ] {
            for form in [Form::Oci, Form::V2s2] {
                let error = manifest(&document(&json, media_type::MANIFEST), form, &mut Losses::default());
                assert!(error.is_err(), "{json}");
            }
        }
        for json in [
            json!([]),
            json!({"manifests": 3}),
            json!({"manifests": [3]}),
            json!({"manifests": [{}]}),
            json!({}),
        ] {
            let error = index(
                &document(&json, media_type::INDEX),
                Form::V2s2,
                &Converted::new(),
                &mut Losses::default(),
            );
            assert!(error.is_err(), "{json}");
        }
    }

    #[test]
    fn an_index_follows_its_manifests() {
        let mut losses = Losses::default();
        let before = document(&image(&[media_type::LAYER_GZIP]), media_type::MANIFEST);
        let docker = manifest(&before, Form::V2s2, &mut losses).unwrap().unwrap();
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let unknown = json!({"os": "unknown", "architecture": "unknown"});
        let statement = document(&json!({"a": 1}), media_type::MANIFEST);
        let entry = |document: &Document, platform: &Value| json!({"mediaType": document.media_type, "digest": document.digest.as_str(), "size": document.bytes.len(), "platform": platform});
        let mut attestation = entry(&statement, &unknown);
        attestation["annotations"] =
            json!({ATTESTED: before.digest.as_str(), "vnd.docker.reference.type": "attestation-manifest"});
        let whole = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry(&before, &platform), attestation], "annotations": {"a": "b"}});
        let top = document(&whole, media_type::INDEX);
        let own = |entry: &Value| serde_json::from_value::<Descriptor>(entry.clone()).unwrap();
        assert!(goes(&own(&whole["manifests"][0]), Form::V2s2, &mut losses));
        assert!(goes(&own(&whole["manifests"][1]), Form::Oci, &mut losses));
        assert!(!goes(&own(&whole["manifests"][1]), Form::V2s2, &mut losses));
        let converted = Converted::from([(before.digest.clone(), docker.clone())]);
        let list = index(&top, Form::V2s2, &converted, &mut losses).unwrap().unwrap();
        let wanted = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_LIST, "manifests": [entry(&docker, &platform)]});
        assert_eq!((value(&list), list.media_type.as_str()), (wanted, media_type::DOCKER_LIST));
        assert_eq!(codes(&losses), ["annotations-dropped", "attestations-dropped"]);
        // And back; what is in its form already stays.
        let mut losses = Losses::default();
        let converted = Converted::from([(docker.digest.clone(), before.clone())]);
        let back = index(&list, Form::Oci, &converted, &mut losses).unwrap().unwrap();
        assert_eq!(value(&back)["manifests"][0], whole["manifests"][0]);
        let same = Converted::from([
            (before.digest.clone(), before.clone()),
            (statement.digest.clone(), statement.clone()),
        ]);
        assert_eq!(index(&top, Form::Oci, &same, &mut losses).unwrap(), None);
        // What an attestation is about has another digest now.
        let mut mixed = whole.clone();
        mixed["manifests"][0] = entry(&docker, &platform);
        mixed["manifests"][1]["annotations"][ATTESTED] = json!(docker.digest.as_str());
        let converted =
            Converted::from([(docker.digest.clone(), before.clone()), (statement.digest.clone(), statement)]);
        let made =
            index(&document(&mixed, media_type::INDEX), Form::Oci, &converted, &mut losses).unwrap().unwrap();
        assert_eq!(value(&made), whole);
        assert!(codes(&losses).is_empty());
    }
}
