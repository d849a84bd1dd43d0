//! The state as lines of the configuration file, which stock Sentinels read too.

use super::Sentinel;
use crate::master::Master;
use crate::settings::Globals;

impl Sentinel {
    /// Returns the lines, each without the leading `sentinel`.
    pub fn state_lines(&self) -> Vec<Vec<u8>> {
        let cx = &self.cx;
        let mut lines = vec![format!("myid {}", cx.my_id)];
        let defaults = Globals::default();
        let yes_or_no = |value: bool| if value { "yes" } else { "no" };
        let mut flag = |name: &str, value: bool, default: bool| {
            if value != default {
                lines.push(format!("{name} {}", yes_or_no(value)));
            }
        };
        let globals = &cx.globals;
        flag(
            "deny-scripts-reconfig",
            globals.deny_scripts_reconfig,
            defaults.deny_scripts_reconfig,
        );
        flag("resolve-hostnames", globals.resolve_hostnames, defaults.resolve_hostnames);
        flag("announce-hostnames", globals.announce_hostnames, defaults.announce_hostnames);
        for master in self.masters.values() {
            self.lines_of(master, &mut lines);
        }
        lines.push(format!("current-epoch {}", cx.epoch));
        if let Some(ip) = &globals.announce_ip {
            lines.push(format!("announce-ip {}", quoted(ip)));
        }
        if globals.announce_port > 0 {
            lines.push(format!("announce-port {}", globals.announce_port));
        }
        if let Some(user) = &globals.sentinel_user {
            lines.push(format!("sentinel-user {}", quoted(user)));
        }
        if let Some(password) = &globals.sentinel_pass {
            lines.push(format!("sentinel-pass {}", quoted(password)));
        }
        lines.into_iter().map(String::into_bytes).collect()
    }

    fn lines_of(&self, master: &Master, lines: &mut Vec<String>) {
        let (cx, settings) = (&self.cx, &master.settings);
        let name = quoted(&settings.name);
        let current = master.current_address();
        let mut line = |text: String| lines.push(text);
        let host = current.shown(&cx.globals);
        line(format!("monitor {name} {host} {} {}", current.port, settings.quorum));
        let mut number = |statement: &str, value: u64, default: u64| {
            if value != default {
                line(format!("{statement} {name} {value}"));
            }
        };
        let periods = crate::periods::Periods::default();
        number("down-after-milliseconds", settings.down_after_ms, periods.down_after);
        number("failover-timeout", settings.failover_timeout_ms, periods.failover_timeout);
        number("parallel-syncs", u64::from(settings.parallel_syncs), 1);
        number("master-reboot-down-after-period", settings.reboot_down_after_ms, 0);
        number("replica-forget-after", settings.replica_forget_after_ms, 0);
        number("sentinel-forget-after", settings.sentinel_forget_after_ms, 0);
        let mut text = |statement: &str, value: &Option<String>| {
            if let Some(value) = value {
                line(format!("{statement} {name} {}", quoted(value)));
            }
        };
        text("notification-script", &settings.notification_script);
        text("client-reconfig-script", &settings.client_reconfig_script);
        text("auth-pass", &settings.auth_pass);
        text("auth-user", &settings.auth_user);
        line(format!("config-epoch {name} {}", settings.config_epoch));
        line(format!("leader-epoch {name} {}", settings.leader_epoch));
        for replica in &master.replicas {
            // After the promotion the old master is the replica.
            let is_current = replica.address.is_same(current);
            let address = if is_current { &master.server.address } else { &replica.address };
            line(format!("known-replica {name} {} {}", address.shown(&cx.globals), address.port));
        }
        for id in master.voters.keys() {
            if let Some(peer) = self.peers.get(id) {
                let host = peer.address.shown(&cx.globals);
                line(format!("known-sentinel {name} {host} {} {id}", peer.address.port));
            }
        }
        for (command, renamed) in &settings.renamed {
            line(format!("rename-command {name} {} {}", quoted(command), quoted(renamed)));
        }
    }
}

/// Quotes a word if the configuration's grammar needs it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text + "\""
}
