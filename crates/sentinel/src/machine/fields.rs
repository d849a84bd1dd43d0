//! What SENTINEL MASTER, REPLICAS and SENTINELS say of an instance: pairs of a name and a value, with Redis' names and in
//! its order.

use russet_protocol::ReplyWriter;

use crate::context::Context;
use crate::link::Link;
use crate::master::{Master, Voter};
use crate::peers::Peer;
use crate::server::{Reconf, Server};

/// The fields of an instance, written as a map.
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.0.push((name, value.to_string()));
    }

    pub fn write(&self, reply: &mut ReplyWriter<'_>) {
        reply.map(self.0.len());
        for (name, value) in &self.0 {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

/// Returns flags joined by commas.
fn flags(flags: &[(&'static str, bool)]) -> String {
    let set: Vec<&str> =
        flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    set.join(",")
}

/// What all kinds of instances have: identity, flags, connection.
fn begin(name: String, host: String, port: u16, id: &str) -> Fields {
    let mut fields = Fields(Vec::with_capacity(32));
    fields.text("name", name);
    fields.text("ip", host);
    fields.number("port", u64::from(port));
    fields.text("runid", id);
    fields
}

fn link_fields(fields: &mut Fields, link: &Link, shared: usize) {
    fields.number("link-pending-commands", link.pending() as u64);
    fields.number("link-refcount", shared as u64);
}

fn ping_fields(
    cx: &Context,
    fields: &mut Fields,
    link: &Link,
    down: Option<u64>,
    odown: Option<u64>,
) {
    let now = cx.ms();
    let age = |at: u64| now.saturating_sub(at);
    fields.number("last-ping-sent", link.silence(now));
    fields.number("last-ok-ping-reply", age(link.last_valid));
    fields.number("last-ping-reply", age(link.last_reply));
    if let Some(since) = down {
        fields.number("s-down-time", age(since));
    }
    if let Some(since) = odown {
        fields.number("o-down-time", age(since));
    }
}

fn info_fields(cx: &Context, fields: &mut Fields, server: &Server) {
    let now = cx.ms();
    fields.number("info-refresh", server.info_at.map_or(0, |at| now.saturating_sub(at)));
    fields.text("role-reported", server.role.name());
    fields.number("role-reported-time", now.saturating_sub(server.role_since));
}

/// What SENTINEL MASTER says of a master.
pub(super) fn master_fields(cx: &Context, master: &Master) -> Fields {
    let (server, settings) = (&master.server, &master.settings);
    let host = server.address.shown(&cx.globals);
    let id = server.run_id.as_deref().unwrap_or_default();
    let mut fields = begin(settings.name.clone(), host, server.address.port, id);
    let failover = master.failover.as_ref();
    let is_forced = failover.is_some_and(|it| it.kind != crate::master::FailoverKind::Elected);
    fields.text(
        "flags",
        flags(&[
            ("s_down", server.is_down()),
            ("o_down", master.odown_since.is_some()),
            ("master", true),
            ("disconnected", server.link.is_disconnected()),
            ("failover_in_progress", failover.is_some()),
            ("force_failover", is_forced),
            ("script_kill_sent", server.script_kill_sent),
            ("master_reboot", server.reboot_since.is_some()),
        ]),
    );
    link_fields(&mut fields, &server.link, 1);
    if let Some(failover) = failover {
        fields.text("failover-state", failover.phase.name());
    }
    ping_fields(cx, &mut fields, &server.link, server.down_since, master.odown_since);
    fields.number("down-after-milliseconds", settings.down_after_ms);
    info_fields(cx, &mut fields, server);
    fields.number("config-epoch", settings.config_epoch);
    fields.number("num-slaves", master.replicas.len() as u64);
    fields.number("num-other-sentinels", master.voters.len() as u64);
    fields.number("quorum", u64::from(settings.quorum));
    fields.number("failover-timeout", settings.failover_timeout_ms);
    fields.number("parallel-syncs", u64::from(settings.parallel_syncs));
    if let Some(script) = &settings.notification_script {
        fields.text("notification-script", script);
    }
    if let Some(script) = &settings.client_reconfig_script {
        fields.text("client-reconfig-script", script);
    }
    fields
}

/// What SENTINEL REPLICAS says of a replica.
pub(super) fn replica_fields(cx: &Context, master: &Master, replica: &Server) -> Fields {
    let host = replica.address.shown(&cx.globals);
    let id = replica.run_id.as_deref().unwrap_or_default();
    let mut fields = begin(replica.address.with_port(&cx.globals), host, replica.address.port, id);
    fields.text(
        "flags",
        flags(&[
            ("s_down", replica.is_down()),
            ("slave", true),
            ("disconnected", replica.link.is_disconnected()),
            ("promoted", replica.is_promoted),
            ("reconf_sent", matches!(replica.reconf, Reconf::Sent(_))),
            ("reconf_inprog", replica.reconf == Reconf::InProgress),
            ("reconf_done", replica.reconf == Reconf::Done),
            ("script_kill_sent", replica.script_kill_sent),
        ]),
    );
    link_fields(&mut fields, &replica.link, 1);
    ping_fields(cx, &mut fields, &replica.link, replica.down_since, None);
    fields.number("down-after-milliseconds", master.settings.down_after_ms);
    info_fields(cx, &mut fields, replica);
    fields.number("master-link-down-time", replica.link_down_ms.min(i64::MAX as u64));
    fields.text("master-link-status", if replica.is_link_up { "ok" } else { "err" });
    fields.text("master-host", replica.master_host.as_deref().unwrap_or("?"));
    fields.number("master-port", u64::from(replica.master_port));
    fields.number("slave-priority", u64::from(replica.priority));
    fields.number("slave-repl-offset", replica.offset);
    fields.number("replica-announced", u64::from(replica.is_announced));
    fields
}

/// What SENTINEL SENTINELS says of another Sentinel.
pub(super) fn sentinel_fields(
    cx: &Context,
    master: &Master,
    (id, voter, peer): (&str, &Voter, &Peer),
    shared: usize,
) -> Fields {
    let mut fields = begin(id.to_owned(), peer.address.shown(&cx.globals), peer.address.port, id);
    fields.text(
        "flags",
        flags(&[
            ("s_down", voter.down_since.is_some()),
            ("sentinel", true),
            ("disconnected", peer.link.is_disconnected()),
            ("master_down", voter.says_down),
        ]),
    );
    link_fields(&mut fields, &peer.link, shared);
    ping_fields(cx, &mut fields, &peer.link, voter.down_since, None);
    fields.number("down-after-milliseconds", master.settings.down_after_ms);
    fields.number("last-hello-message", cx.ms().saturating_sub(voter.last_hello));
    fields.text("voted-leader", voter.leader.as_deref().unwrap_or("?"));
    fields.number("voted-leader-epoch", voter.leader_epoch);
    fields
}
