//! The ids that containers have for their user namespaces: of the host, or, where the engine is rootless, of its own user namespace. They are given with the row of a container, in its transaction, and go with it: nothing of them is left by
//! whoever dies meanwhile.

use coble_protocol::{IdMapping, IdRange};
use rusqlite::{Connection, Transaction, params};

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
    /// These, which [`choose`] has found that nobody had.
    Chosen(IdMapping),
}

const KINDS: [&str; 2] = ["user", "group"];

/// The user and the group of who is nobody, by the kernel's habit, and that of nearly all images.
pub(crate) const NOBODY: u32 = 65_534;

/// How many ids a container needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// From 0.
    pub(crate) count: u32,
    /// And [`NOBODY`], far above those.
    pub(crate) nobody: bool,
}

impl Need {
    /// What a container has.
    pub(crate) fn of(map: &[IdRange]) -> Need {
        let from = |id: u32| map.iter().find(|range| range.inside == id);
        Need { count: from(0).map_or(0, |range| range.count), nobody: from(NOBODY).is_some() }
    }

    fn total(self) -> u32 {
        self.count.saturating_add(u32::from(self.nobody))
    }
}

/// As many user and group ids of pools as a container needs that no other one has, the highest there are, for one that has to be made with them before it has a row. They may be somebody else's by then, which [`give`] says.
pub(crate) fn choose(db: &Db, [uids, gids]: &[Pool; 2], need: Need, whose: &str) -> Result<IdMapping> {
    let [users, groups] = db.read(|connection| {
        let one = |kind, pool| {
            let all = need.total();
            let outside = highest(pool, &taken(connection, kind)?, all)
                .ok_or_else(|| exhausted(kind, all, whose, pool))?;
            let mut map = vec![IdRange { inside: 0, outside, count: need.count }];
            if need.nobody {
                map.push(IdRange { inside: NOBODY, outside: outside + need.count, count: 1 });
            }
            Ok::<_, Error>(map)
        };
        Ok([one(KINDS[0], uids)?, one(KINDS[1], gids)?])
    })?;
    Ok(IdMapping { uids: users, gids: groups })
}

/// Gives a container of this transaction its ids. Fails with `LimitExceeded` when there are not so many left, and with `InUse` when chosen ones are somebody else's.
pub(crate) fn give(tx: &Transaction<'_>, container: &str, wanted: &Wanted) -> Result<()> {
    let maps = match wanted {
        Wanted::Maps(maps) => [maps.uids.clone(), maps.gids.clone()],
        Wanted::Chosen(maps) => {
            let maps = [maps.uids.clone(), maps.gids.clone()];
            for (kind, map) in KINDS.into_iter().zip(&maps) {
                if overlap(map, &taken(tx, kind)?) {
                    return Err(Error::new(
                        ErrorKind::InUse,
                        format!("another container has got these {kind} ids"),
                    ));
                }
            }
            maps
        }
        Wanted::Range { uids, gids, count, whose } => {
            let one = |kind, pool| {
                let outside = free(pool, &taken(tx, kind)?, *count)
                    .ok_or_else(|| exhausted(kind, *count, whose, pool))?;
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
fn taken(connection: &Connection, kind: &str) -> Result<Vec<(u64, u64)>> {
    let mut statement =
        connection.prepare_cached("SELECT outside, count FROM ids WHERE kind = ?1 ORDER BY outside")?;
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

/// The first of so many ids of a pool that nobody has, the highest there is.
fn highest(pool: &[(u32, u32)], taken: &[(u64, u64)], count: u32) -> Option<u32> {
    let count = u64::from(count);
    let mut pool = pool.to_vec();
    pool.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken = taken.to_vec();
    taken.sort_unstable_by_key(|(_, end)| std::cmp::Reverse(*end));
    pool.iter().find_map(|(first, size)| {
        let mut end = u64::from(*first) + u64::from(*size);
        for (from, to) in &taken {
            if *to + count <= end {
                break;
            }
            end = end.min(*from);
        }
        let at = end.checked_sub(count).filter(|at| *at >= u64::from(*first));
        at.and_then(|at| u32::try_from(at).ok())
    })
}

/// Whether ranges have anything in common with what containers have.
fn overlap(map: &[IdRange], taken: &[(u64, u64)]) -> bool {
    map.iter().any(|range| {
        let (first, end) = (u64::from(range.outside), u64::from(range.outside) + u64::from(range.count));
        taken.iter().any(|(from, to)| *from < end && first < *to)
    })
}

fn exhausted(kind: &str, count: u32, whose: &str, pool: &[(u32, u32)]) -> Error {
    let file = if kind == "user" { "/etc/subuid" } else { "/etc/subgid" };
    let all: u64 = pool.iter().map(|(_, count)| u64::from(*count)).sum();
    Error::new(
        ErrorKind::LimitExceeded,
        format!("there are no {count} {kind} ids next to each other that no other container has, of {all} in all"),
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

    #[test]
    fn the_highest_gap_is_taken() {
        let pool = [(1, 100)];
        assert_eq!(highest(&pool, &[], 100), Some(1));
        assert_eq!(highest(&pool, &[], 101), None);
        assert_eq!(highest(&pool, &[], 10), Some(91));
        assert_eq!(highest(&pool, &[(91, 101)], 10), Some(81));
        assert_eq!(highest(&pool, &[(0, 1), (81, 91)], 10), Some(91));
        assert_eq!(highest(&pool, &[(81, 91)], 11), Some(70));
        // One that is around another, one that only begins in the pool, and what is beyond it.
        assert_eq!(highest(&pool, &[(50, 101), (60, 70)], 10), Some(40));
        assert_eq!(highest(&pool, &[(95, 2000)], 10), Some(85));
        assert_eq!(highest(&pool, &[(500, 600)], 10), Some(91));
        assert_eq!(highest(&pool, &[(11, 101)], 10), Some(1));
        assert_eq!(highest(&pool, &[(10, 101)], 10), None);
        assert_eq!(highest(&[(1, 5), (10, 5)], &[(12, 13)], 5), Some(1));
        assert_eq!(highest(&[], &[], 1), None);
        assert_eq!(highest(&[(u32::MAX - 10, 10)], &[], 10), Some(u32::MAX - 10));
    }

    #[test]
    fn what_overlaps_is_seen() {
        let map =
            [IdRange { inside: 0, outside: 10, count: 5 }, IdRange { inside: 5, outside: 100, count: 1 }];
        for (taken, overlaps) in
            [((0, 10), false), ((0, 11), true), ((14, 20), true), ((15, 100), false), ((100, 101), true)]
        {
            assert_eq!(overlap(&map, &[taken]), overlaps, "{taken:?}");
        }
        assert!(!overlap(&map, &[]));
    }
}
