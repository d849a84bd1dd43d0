//! Commands of SENTINEL, called on the machine, and their replies as text.

use russet_protocol::{ErrorReply, Reply, ReplyWriter};
use russet_sentinel::{End, Now, Sentinel as Machine, SimulatedFailures};

use crate::world::World;

/// Executes a command of SENTINEL.
pub fn execute(
    machine: &mut Machine,
    now: Now,
    words: &[&str],
    reply: &mut ReplyWriter<'_>,
) -> Result<End, ErrorReply> {
    let name = words.get(1).copied().unwrap_or_default().as_bytes();
    let asks = match words {
        ["master", _] => machine.master(now, name, reply).map(|()| true)?,
        ["replicas", _] => machine.replicas(now, name, reply).map(|()| true)?,
        ["sentinels", _] => machine.sentinels(now, name, reply).map(|()| true)?,
        ["ckquorum", _] => machine.check_quorum(name, reply).map(|()| true)?,
        ["explain", _] => machine.explain(name, reply).map(|()| true)?,
        ["get-master-addr-by-name", _] => {
            machine.address(name, reply);
            true
        }
        ["pending-scripts"] => {
            machine.pending_scripts(now, reply);
            true
        }
        ["reset", _] => {
            reply.count(machine.reset(now, &|known| known == name));
            true
        }
        _ => false,
    };
    if asks {
        return Ok(End::Done);
    }
    let end = match words {
        ["failover", _] => machine.failover(now, name, false).map(|()| End::Done)?,
        ["failover", _, "coordinated"] => machine.failover(now, name, true).map(|()| End::Done)?,
        ["monitor", name, host, port, quorum] => {
            machine.monitor(now, [name, host, port, quorum])?
        }
        ["remove", _] => machine.remove(now, name)?,
        ["set", _, rest @ ..] => machine.set(now, name, rest)?,
        ["flushconfig"] => machine.flush_config(now),
        ["simulate-failure", what] => {
            machine.simulate_failure(SimulatedFailures {
                after_election: *what == "crash-after-election",
                after_promotion: *what == "crash-after-promotion",
            });
            End::Done
        }
        ["debug", rest @ ..] => machine.set_period(now, rest).map(|()| End::Done)?,
        _ => panic!("no such command: {words:?}"),
    };
    reply.ok();
    Ok(end)
}

/// Returns a reply as text.
pub fn format(reply: &Reply<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match reply {
        Reply::Simple(bytes) => format!("+{}", text(bytes)),
        Reply::Error(bytes) => format!("-{}", text(bytes)),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Null => "null".to_owned(),
        reply => match (reply.bytes(), reply.elements()) {
            (Some(bytes), _) => text(bytes),
            (_, Some(elements)) => {
                format!("[{}]", elements.map(|it| format(&it)).collect::<Vec<_>>().join(", "))
            }
            _ => "?".to_owned(),
        },
    }
}

/// Writes down who has which flags.
pub fn flags(world: &mut World, command: &str, reply: &Reply<'_>) {
    let Some(elements) = reply.elements() else { return };
    let elements: Vec<Reply<'_>> = elements.collect();
    if command != "master" {
        return elements.iter().for_each(|element| flags(world, "master", element));
    }
    let text = |reply: &Reply<'_>| String::from_utf8_lossy(reply.bytes().unwrap()).into_owned();
    let fields: Vec<String> = elements.iter().map(text).collect();
    let field = |name: &str| {
        let pair = fields.chunks(2).find(|pair| pair[0] == name);
        pair.map_or_else(String::new, |pair| pair[1].clone())
    };
    world.note(&format!("{} port {} {}", field("name"), field("port"), field("flags")));
}
