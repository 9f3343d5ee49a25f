//! The ids of the host that containers have for their user namespaces. They are given with the row of a container, in its transaction, and go with it: nothing of them is left by whoever dies meanwhile.

use coble_protocol::{IdMapping, IdRange};
use rusqlite::{Transaction, params};

use super::Db;
use crate::error::{Error, ErrorKind, Result};

/// First ids and how many.
pub(crate) type Pool = Vec<(u32, u32)>;

/// What ids a container is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These. Whoever says so sees to it that they are nobody else's.
    Maps(IdMapping),
    /// As many from these that no container has.
    Range {
        /// User ids there are.
        uids: Pool,
        /// Group ids there are.
        gids: Pool,
        /// How many of each.
        count: u32,
        /// Whose in `/etc/subuid` they are.
        whose: &'static str,
    },
}

const KINDS: [&str; 2] = ["user", "group"];

/// Gives a container of this transaction its ids. Fails with `LimitExceeded` when there are not so many left.
pub(crate) fn give(tx: &Transaction<'_>, container: &str, wanted: &Wanted) -> Result<()> {
    let maps = match wanted {
        Wanted::Maps(maps) => [maps.uids.clone(), maps.gids.clone()],
        Wanted::Range { uids, gids, count, whose } => {
            let one = |kind, pool| {
                let outside =
                    free(pool, &taken(tx, kind)?, *count).ok_or_else(|| exhausted(kind, *count, whose))?;
                Ok::<_, Error>(vec![IdRange { inside: 0, outside, count: *count }])
            };
            [one(KINDS[0], uids)?, one(KINDS[1], gids)?]
        }
    };
    let sql = "INSERT INTO ids (container_id, kind, inside, outside, count) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = tx.prepare_cached(sql)?;
    for (kind, map) in KINDS.into_iter().zip(&maps) {
        for range in map {
            statement.execute(params![container, kind, range.inside, range.outside, range.count])?;
        }
    }
    Ok(())
}

/// The ids of a container; None if it has none of its own.
pub(crate) fn of(db: &Db, container: &str) -> Result<Option<IdMapping>> {
    let [uids, gids] = db.read(|connection| {
        let sql =
            "SELECT inside, outside, count FROM ids WHERE container_id = ?1 AND kind = ?2 ORDER BY inside";
        let mut statement = connection.prepare_cached(sql)?;
        let mut maps = [Vec::new(), Vec::new()];
        for (kind, map) in KINDS.into_iter().zip(&mut maps) {
            let rows = statement.query_map([container, kind], |row| {
                Ok(IdRange { inside: row.get(0)?, outside: row.get(1)?, count: row.get(2)? })
            })?;
            *map = rows.collect::<rusqlite::Result<_>>()?;
        }
        Ok(maps)
    })?;
    Ok((!uids.is_empty() && !gids.is_empty()).then_some(IdMapping { uids, gids }))
}

/// What containers have, by the first id: first ids and those behind the last.
fn taken(tx: &Transaction<'_>, kind: &str) -> Result<Vec<(u64, u64)>> {
    let mut statement =
        tx.prepare_cached("SELECT outside, count FROM ids WHERE kind = ?1 ORDER BY outside")?;
    let rows = statement.query_map([kind], |row| {
        let (first, count): (u32, u32) = (row.get(0)?, row.get(1)?);
        Ok((u64::from(first), u64::from(first) + u64::from(count)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The first of so many ids of a pool that nobody has, the lowest there is.
fn free(pool: &[(u32, u32)], taken: &[(u64, u64)], count: u32) -> Option<u32> {
    let count = u64::from(count);
    let mut pool = pool.to_vec();
    pool.sort_unstable();
    pool.iter().find_map(|(first, size)| {
        let end = u64::from(*first) + u64::from(*size);
        let mut at = u64::from(*first);
        for (from, to) in taken {
            if *from >= at + count {
                break;
            }
            at = at.max(*to);
        }
        u32::try_from(at).ok().filter(|_| at + count <= end)
    })
}

fn exhausted(kind: &str, count: u32, whose: &str) -> Error {
    let file = if kind == "user" { "/etc/subuid" } else { "/etc/subgid" };
    Error::new(
        ErrorKind::LimitExceeded,
        format!("there are no {count} {kind} ids next to each other that no other container has"),
    )
    .with_object("userns_mode")
    .with_hint(format!(
        "remove containers, ask for fewer with auto:size=, or give the user \"{whose}\" more of them in {file}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_is_taken() {
        let pool = [(1000, 100), (100, 50)];
        assert_eq!(free(&pool, &[], 50), Some(100));
        assert_eq!(free(&pool, &[], 51), Some(1000));
        assert_eq!(free(&pool, &[(100, 150), (1000, 1050)], 50), Some(1050));
        assert_eq!(free(&pool, &[(100, 150), (1000, 1050)], 51), None);
        assert_eq!(free(&pool, &[(100, 120), (130, 150), (1020, 1030)], 10), Some(120));
        // Somebody has what begins before it, and two overlap.
        assert_eq!(free(&pool, &[(0, 140), (10, 20)], 10), Some(140));
        assert_eq!(free(&[], &[], 1), None);
        assert_eq!(free(&[(u32::MAX - 10, 10)], &[], 10), Some(u32::MAX - 10));
        assert_eq!(free(&[(u32::MAX - 10, 10)], &[], 11), None);
    }
}
