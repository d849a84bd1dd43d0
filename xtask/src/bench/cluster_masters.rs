//! Masters without replicas for the figures of a cluster, and which slot a key has.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use russet_e2e::server::free_port;
use russet_e2e::{Server, Value};

use super::Side;
use super::cpu::Place;
use crate::sh::Result;

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// How long nodes may take to come together.
const TOGETHER_MAX: Duration = Duration::from_secs(60);

/// Starts masters that share all slots evenly, and waits until all of them serve.
pub fn start(side: &Side, place: Place, count: u16) -> Result<Vec<Server>> {
    let mut masters: Vec<(Server, u16)> = vec![];
    for _ in 0..count {
        // Below it there may be no port for clients.
        let bus_port = free_port();
        let bus = format!("cluster-port {bus_port}");
        let lines = ["cluster-enabled yes", "cluster-node-timeout 15000", &bus];
        let master = side.start_at(place, &lines)?;
        master.client().ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", masters.len() + 1));
        masters.push((master, bus_port));
    }
    let mut first = masters[0].0.client();
    for (master, bus_port) in &masters[1..] {
        first.ok(&format!("CLUSTER MEET 127.0.0.1 {} {bus_port}", master.port()));
    }
    let masters: Vec<Server> = masters.into_iter().map(|(master, _)| master).collect();
    serve(&masters)?;
    Ok(masters)
}

/// Shares all slots among nodes that have been introduced to each other, and waits until all of them serve.
pub fn serve(masters: &[Server]) -> Result {
    let count = u16::try_from(masters.len()).map_err(|e| e.to_string())?;
    for (index, master) in (0..count).zip(masters) {
        let first = SLOTS / count * index;
        let last = if index + 1 == count { SLOTS - 1 } else { first + SLOTS / count - 1 };
        master.client().ok(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
    }
    masters.iter().try_for_each(|master| wait_until_served(master, count))
}

fn wait_until_served(master: &Server, count: u16) -> Result {
    let start = Instant::now();
    let known = format!("cluster_known_nodes:{count}");
    loop {
        let info = master.client().run("CLUSTER INFO").text();
        if info.contains("cluster_state:ok") && info.lines().any(|line| line.trim() == known) {
            return Ok(());
        }
        if start.elapsed() > TOGETHER_MAX {
            return Err(format!("a node does not serve:\n{info}\n{}", master.log()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Which of `masters` has each slot, by the first one's view.
pub fn owners(masters: &[Server]) -> Result<Vec<usize>> {
    let mut owners = vec![usize::MAX; usize::from(SLOTS)];
    let Value::Array(ranges) = masters[0].client().run("CLUSTER SLOTS") else {
        return Err("CLUSTER SLOTS is not understood".into());
    };
    for range in &ranges {
        let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = range.items() else {
            return Err(format!("CLUSTER SLOTS: {range:?}"));
        };
        let port = node.get(1).map(Value::int).unwrap_or_default();
        let owner = masters.iter().position(|master| i64::from(master.port()) == port);
        let owner = owner.ok_or_else(|| format!("port {port} is unknown"))?;
        for slot in *first..=*last {
            let slot = usize::try_from(slot).map_err(|e| e.to_string())?;
            *owners.get_mut(slot).ok_or("there are not so many slots")? = owner;
        }
    }
    if owners.contains(&usize::MAX) { Err("a slot is not served".into()) } else { Ok(owners) }
}

/// The slot of a key without a hash tag: CRC-16/XMODEM, modulo the number of slots.
pub fn slot_of(key: &[u8]) -> usize {
    let crc = key.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    usize::from(crc % SLOTS)
}

/// The master at an address.
pub fn master_at(masters: &[SocketAddr], address: &str) -> Option<usize> {
    let address: SocketAddr = address.parse().ok()?;
    masters.iter().position(|master| *master == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // CRC-16/XMODEM of "123456789" is 0x31c3.
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
    }
}
