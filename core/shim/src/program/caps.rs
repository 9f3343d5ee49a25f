//! Ids and capabilities, in the order that lets each step still be allowed.

use coble_protocol::{Failure, ProcessSpec, Step};
use rustix::io::Errno;
use rustix::thread::{Gid, Uid};

use super::user::Identity;
use crate::failure::{During, explained};
use crate::ids::IdMaps;
use crate::sys;

/// The sets that the program will have, after what cannot be given was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
}

/// Drops what is not in the wanted bounding set and becomes the user. Returns the sets that remain; a capability that is wanted and that this
/// process does not have itself is a warning.
pub(crate) fn become_user(
    identity: &Identity,
    spec: &ProcessSpec,
    maps: &IdMaps,
    warnings: &mut Vec<Failure>,
) -> Result<Granted, Failure> {
    let wanted = spec.capabilities;
    let available = sys::permitted().during(Step::Capabilities, "permitted")?;
    // What this process lacks goes from the bounding set too: exec would give it to user 0.
    let bounding = drop_bounding(wanted.bounding & available)?;
    let granted = Granted { bounding, ambient: wanted.ambient & bounding };
    let missing = (wanted.bounding | wanted.ambient) & !granted.bounding;
    if missing != 0 {
        let object = format!("{missing:#x}");
        warnings.push(Failure::rule(Step::Capabilities, object, "not available on this host"));
    }
    set_ids(identity, maps, granted.ambient != 0, &spec.additional_groups, warnings)?;
    let permitted = if identity.uid == 0 { granted.bounding } else { granted.ambient };
    sys::capset(permitted, permitted, granted.ambient).during(Step::Capabilities, "capset")?;
    set_ambient(granted.ambient)?;
    Ok(granted)
}

/// Leaves only these capabilities in the bounding set; returns what is in it.
fn drop_bounding(keep: u64) -> Result<u64, Failure> {
    let mut kept = 0;
    for capability in 0..64 {
        let bit = 1u64 << capability;
        let asked = if keep & bit == 0 { libc::PR_CAPBSET_DROP } else { libc::PR_CAPBSET_READ };
        match sys::prctl(asked, capability, 0) {
            Ok(1) => kept |= bit,
            Ok(_) => {}
            // The first number that is no capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(errno) => {
                return Err(Failure::new(Step::Capabilities, errno.raw_os_error(), capability.to_string()));
            }
        }
    }
    Ok(kept)
}

fn set_ids(
    identity: &Identity,
    maps: &IdMaps,
    keep: bool,
    asked: &[String],
    warnings: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let user = identity.uid.to_string();
    if !maps.uids.contains(identity.uid) {
        let detail = "this user id is not mapped in the container's user namespace";
        return Err(explained(Step::SetIds, Errno::INVAL, user, detail));
    }
    for group in &identity.groups {
        // Where setgroups is denied only the primary group can be had at all.
        let needed = maps.setgroups || *group == identity.gid;
        if needed && !maps.gids.contains(*group) {
            let detail = "this group id is not mapped in the container's user namespace";
            return Err(explained(Step::SetIds, Errno::INVAL, group.to_string(), detail));
        }
    }
    if maps.setgroups {
        let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).during(Step::SetIds, "setgroups")?;
    } else if !asked.is_empty() {
        // Groups that come from the image's own files go without a word: nobody has asked for them.
        let detail = "supplementary groups cannot be set in a user namespace with a single id";
        warnings.push(Failure::rule(Step::SetIds, asked.join(","), detail));
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).during(Step::SetIds, identity.gid.to_string())?;
    if keep && identity.uid != 0 {
        sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0).during(Step::Capabilities, "keepcaps")?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid).during(Step::SetIds, user)
}

fn set_ambient(ambient: u64) -> Result<(), Failure> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    sys::prctl(libc::PR_CAP_AMBIENT, clear, 0).during(Step::Capabilities, "ambient")?;
    for capability in (0..64).filter(|capability| ambient >> capability & 1 == 1) {
        let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
        sys::prctl(libc::PR_CAP_AMBIENT, raise, capability).during(Step::Capabilities, "ambient")?;
    }
    Ok(())
}
