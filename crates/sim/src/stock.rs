//! Peers as older stock programs are: what Sentinels ask of them beyond that they refuse, and what stock does not tell they do not.
//!
//! ```text
//!                          FAILOVER   SENTINEL MYID   replica_announced   master_replid, master_replid2
//!   Redis 6.2 and later       +            +                 +                      +
//!   Redis 4.0 to 6.0          −            −                 −                      +
//!   before                    −            −                 −                      −
//! ```
//!
//! What a peer does is still what ours does: bytes between a Sentinel and such a peer are changed on their way, whole requests
//! and whole replies at a time. A request that the peer does not know gets a name that nobody knows, so that the peer itself
//! refuses it. How stock Sentinels time their failovers is not modelled here.

use crate::chance::Chance;
use crate::net::ConnId;
use crate::resp::{Reply, parse_command, parse_reply};
use crate::world::World;

/// What a peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// All that ours does.
    Present,
    /// No FAILOVER, and no ids of Sentinels on request.
    Older,
    /// Nor the names of histories.
    Oldest,
}

/// What INFO of older ones does not have.
const NOT_IN_OLDER: &[&str] = &["replica_announced:"];
const NOT_IN_OLDEST: &[&str] = &["replica_announced:", "master_replid:", "master_replid2:"];

/// Draws what the processes of a world are: mostly all are alike, in some worlds a part or all of them are older.
pub fn draw(chance: &mut Chance, processes: usize) -> Vec<Stock> {
    let percent = *chance.pick(&[0, 0, 0, 0, 0, 0, 40, 40, 100, 100]);
    let kind = *chance.pick(&[Stock::Older, Stock::Older, Stock::Oldest]);
    let draw = |_| if chance.percent(percent) { kind } else { Stock::Present };
    (0..processes).map(draw).collect()
}

/// A request as the peer gets it, if it does not know it.
fn refused(words: &[&[u8]]) -> Option<Vec<u8>> {
    let unknown: &[&[u8]] = match words {
        [name, ..] if name.eq_ignore_ascii_case(b"failover") => &[b"FAILOVER-UNKNOWN"],
        [b"SENTINEL", name] if name.eq_ignore_ascii_case(b"myid") => {
            &[b"SENTINEL", b"MYID-UNKNOWN"]
        }
        _ => return None,
    };
    let mut bytes = format!("*{}\r\n", unknown.len()).into_bytes();
    for word in unknown {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    Some(bytes)
}

/// An INFO without some of its lines.
fn without(text: &str, names: &[&str]) -> Option<Vec<u8>> {
    let is_told = |line: &&str| !names.iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = text.split("\r\n").filter(is_told).collect();
    let rest = lines.join("\r\n");
    (rest.len() < text.len()).then(|| format!("${}\r\n{rest}\r\n", rest.len()).into_bytes())
}

impl World {
    /// What leaves on a connection of a Sentinel to an older peer; it may be nothing yet.
    pub(crate) fn as_stock(&mut self, conn: ConnId, direction: usize, bytes: Vec<u8>) -> Vec<u8> {
        let Some(plan) = &self.plan.sentinels else { return bytes };
        let [from, to] = self.conns[conn].hosts;
        let stock = plan.stock.get(to).copied().unwrap_or(Stock::Present);
        let is_sentinels = self.processes.get(from).is_some_and(|it| it.is_sentinel);
        if stock == Stock::Present || !is_sentinels {
            return bytes;
        }
        let mut held = self.watch.held.remove(&(conn, direction)).unwrap_or_default();
        held.extend_from_slice(&bytes);
        let (mut at, mut leaves) = (0, Vec::new());
        loop {
            let rest = &held[at..];
            let (used, changed) = match direction {
                0 => match parse_command(rest) {
                    Ok(Some((words, used))) => (used, refused(&words)),
                    _ => break,
                },
                _ => match parse_reply(rest) {
                    Ok(Some((reply, used))) => (used, untold(stock, &reply)),
                    _ => break,
                },
            };
            let count = match direction {
                0 => &mut self.coverage.stock_refusals,
                _ => &mut self.coverage.stock_infos,
            };
            *count += u64::from(changed.is_some());
            match changed {
                Some(changed) => leaves.extend_from_slice(&changed),
                None => leaves.extend_from_slice(&rest[..used]),
            }
            at += used;
        }
        held.drain(..at);
        if !held.is_empty() {
            self.watch.held.insert((conn, direction), held);
        }
        leaves
    }
}

/// A reply of an older peer, if it is an INFO with what such a peer does not tell.
fn untold(stock: Stock, reply: &Reply) -> Option<Vec<u8>> {
    let Reply::Bulk(Some(text)) = reply else { return None };
    let text = std::str::from_utf8(text).ok()?;
    match stock {
        Stock::Present => None,
        Stock::Older => without(text, NOT_IN_OLDER),
        Stock::Oldest => without(text, NOT_IN_OLDEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_peers_do_not_know_gets_another_name() {
        let words: [&[u8]; 3] = [b"FAILOVER", b"TO", b"h"];
        assert_eq!(refused(&words), Some(b"*1\r\n$16\r\nFAILOVER-UNKNOWN\r\n".to_vec()));
        assert!(refused(&[b"SENTINEL", b"MYID"]).is_some());
        assert_eq!(refused(&[b"INFO"]), None);
        let info =
            Reply::Bulk(Some(b"role:slave\r\nmaster_replid:a\r\nreplica_announced:1\r\n".to_vec()));
        let older = b"$29\r\nrole:slave\r\nmaster_replid:a\r\n\r\n".to_vec();
        assert_eq!(untold(Stock::Older, &info), Some(older));
        assert_eq!(untold(Stock::Oldest, &info), Some(b"$12\r\nrole:slave\r\n\r\n".to_vec()));
        assert_eq!(untold(Stock::Present, &info), None);
    }
}
