//! Names, and removal.

use rusqlite::Transaction;

use super::Removed;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::snapshot::Worker;
use crate::state::{Session, Store, events, images};

/// Does a change of names in a session, with `index.json` as the last step of the transaction.
pub(crate) fn change<T>(
    store: &Store,
    session: &Session,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let result = store.db.write_durably(|tx| {
        let value = work(tx)?;
        store.content.write_index(session, &images::index(tx)?)?;
        Ok(value)
    });
    if result.is_err() {
        // A commit that fails, for want of space, leaves an index of what was not to be.
        let put_back = |tx: &Transaction<'_>| {
            store.content.write_index_if_changed(session.dir(), &session.path, &images::index(tx)?)
        };
        let _ = store.freeing(|| store.db.write(put_back));
    }
    result
}

pub(super) fn tag(store: &Store, worker: &dyn Worker, image: &str, reference: &str) -> Result<()> {
    let reference = Reference::parse_tag(reference)?;
    Session::run(store, worker, &CancelToken::never(), |session| {
        change(store, session, |tx| {
            let group = images::group(tx, image, None)?;
            images::set_group(tx, &reference, &group.ids, group.index.as_ref())?;
            group.ids.iter().try_for_each(|id| events::of_image(tx, "tag", id, &reference.to_string()))
        })
    })
}

pub(super) fn untag(store: &Store, worker: &dyn Worker, reference: &str) -> Result<String> {
    let name = Reference::parse_tag(reference)?.to_string();
    Session::run_freeing(store, worker, |session| {
        change(store, session, |tx| {
            let id = images::find(tx, &name).ok().map(|found| found.id);
            match images::delete_tag(tx, &name)? {
                true => events::of_image(tx, "untag", id.as_deref().unwrap_or(&name), &name),
                false => Err(images::not_found(reference)),
            }
        })
    })?;
    Ok(name)
}

pub(super) fn remove(store: &Store, worker: &dyn Worker, image: &str, force: bool) -> Result<Removed> {
    Session::run_freeing(store, worker, |session| {
        change(store, session, |tx| {
            let group = images::group(tx, image, None)?;
            let mut removed = Removed::default();
            if let Some(name) = group.name {
                images::delete_tag(tx, &name)?;
                if let Some(id) = group.ids.first() {
                    events::of_image(tx, "untag", id, &name)?;
                }
                removed.untagged.push(name);
                for id in group.ids {
                    // An image that has another name keeps it.
                    if images::tags_of(tx, &id)?.is_empty() {
                        delete(tx, image, id, force, &mut removed)?;
                    }
                }
                return Ok(removed);
            }
            for id in group.ids {
                let tags = images::tags_of(tx, &id)?;
                if tags.len() > 1 && !force {
                    return Err(Error::new(
                        ErrorKind::InUse,
                        format!("image \"{image}\" has several names: {}", tags.join(", ")),
                    )
                    .with_object(image)
                    .with_hint("remove it by force, or one name at a time"));
                }
                for name in tags {
                    // One that other platforms have, too, stays with them.
                    if !images::has_other(tx, &name, &id)? {
                        events::of_image(tx, "untag", &id, &name)?;
                        removed.untagged.push(name);
                    }
                }
                delete(tx, image, id, force, &mut removed)?;
            }
            Ok(removed)
        })
    })
}

/// Deletes an image. By force, one that only containers use which do not run loses its names and stays for these.
fn delete(tx: &Transaction<'_>, image: &str, id: String, force: bool, removed: &mut Removed) -> Result<()> {
    let in_use = |how: &str, container: &str, hint: &str| {
        let message = format!("image \"{image}\" is used by {how} \"{container}\"");
        Err(Error::new(ErrorKind::InUse, message).with_object(image).with_hint(hint))
    };
    match images::user_of(tx, &id)? {
        Some((container, true)) => {
            in_use("running container", &container, "stop and remove the container first")
        }
        Some((container, false)) if !force => in_use(
            "container",
            &container,
            "remove its containers first, or take its names away by force: it stays without one for them",
        ),
        Some(_) => images::untie(tx, &id),
        None => {
            events::of_image(tx, "delete", &id, &id)?;
            images::delete(tx, &id)?;
            removed.deleted.push(id);
            Ok(())
        }
    }
}
