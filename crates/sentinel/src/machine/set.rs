//! SENTINEL SET and SENTINEL CONFIG: settings of a master, and of all.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::{End, Sentinel};
use crate::io::{Level, Now};
use crate::settings::{MasterSettings, parse_ms, yes_or_no};

/// Settings of SENTINEL CONFIG that belong to the machine.
const GLOBALS: [&str; 6] = [
    "resolve-hostnames",
    "announce-hostnames",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
];

/// Why an option of SENTINEL SET is refused.
enum Refusal {
    Unknown,
    Value(usize),
    Scripts,
}

impl Sentinel {
    /// SENTINEL SET: options and their values. Those before an error are kept, as in Redis.
    pub fn set(&mut self, now: Now, name: &[u8], words: &[&str]) -> Result<End, ErrorReply> {
        self.advance(now);
        let number = self.find(name)?.number;
        let denies_scripts = self.cx.globals.deny_scripts_reconfig;
        let mut at = 0;
        let mut result = Ok(());
        while at < words.len() {
            let Some(master) = self.masters.get_mut(&number) else { break };
            let option = words[at].to_ascii_lowercase();
            let len = if option == "rename-command" { 3 } else { 2 };
            let values = words.get(at + 1..at + len).unwrap_or_default();
            match set_option(&mut master.settings, denies_scripts, &option, values) {
                Ok(()) => {}
                Err(refusal) => {
                    result = Err(refused(&refusal, words[at], values));
                    break;
                }
            }
            let shown = match option.as_str() {
                "auth-pass" => "******".to_owned(),
                _ => values.join(" "),
            };
            let text = format!("{} {} {shown}", master.label(&self.cx), words[at]);
            master.report(&mut self.cx, Level::Warning, "+set", text);
            if matches!(option.as_str(), "auth-pass" | "auth-user") {
                master.close(&mut self.cx);
            }
            at += len;
        }
        let has_changed = at > 0;
        if has_changed {
            self.settings_changed();
        }
        let end = if has_changed { self.save() } else { End::Done };
        result.map(|()| end)
    }

    /// SENTINEL CONFIG SET, without `loglevel`. The driver of commands has checked the number of words.
    pub fn config_set(&mut self, now: Now, pairs: &[(&str, &str)]) -> Result<End, ErrorReply> {
        self.advance(now);
        for (option, value) in pairs {
            let is_valid = match option.to_ascii_lowercase().as_str() {
                "resolve-hostnames" | "announce-hostnames" => yes_or_no(value).is_some(),
                "announce-port" => value.parse::<u16>().is_ok(),
                _ => !value.contains(|c: char| c.is_control()),
            };
            if !is_valid {
                let text = format!("' to SENTINEL CONFIG SET '{option}'");
                return Err(ErrorReply::quoting("ERR Invalid value '", value.as_bytes(), &text));
            }
        }
        for (option, value) in pairs {
            let globals = &mut self.cx.globals;
            let text = Some((*value).to_owned()).filter(|value| !value.is_empty());
            let flag = yes_or_no(value).unwrap_or_default();
            let mut drops = false;
            match option.to_ascii_lowercase().as_str() {
                "resolve-hostnames" => globals.resolve_hostnames = flag,
                "announce-hostnames" => globals.announce_hostnames = flag,
                "announce-ip" => globals.announce_ip = text,
                "announce-port" => globals.announce_port = value.parse().unwrap_or_default(),
                "sentinel-user" => (globals.sentinel_user, drops) = (text, true),
                "sentinel-pass" => (globals.sentinel_pass, drops) = (text, true),
                _ => {}
            }
            if drops {
                self.peers.close_all(&mut self.cx);
            }
        }
        Ok(self.save())
    }

    /// Whether SENTINEL CONFIG knows a setting of the machine by this name.
    pub fn has_global(name: &str) -> bool {
        GLOBALS.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Returns the settings of SENTINEL CONFIG GET with their values, in Redis' order.
    pub fn globals(&self) -> Vec<(&'static str, String)> {
        let globals = &self.cx.globals;
        let yes_or_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let values = [
            yes_or_no(globals.resolve_hostnames),
            yes_or_no(globals.announce_hostnames),
            globals.announce_ip.clone().unwrap_or_default(),
            globals.announce_port.to_string(),
            globals.sentinel_user.clone().unwrap_or_default(),
            globals.sentinel_pass.clone().unwrap_or_default(),
        ];
        GLOBALS.into_iter().zip(values).collect()
    }

    /// Writes the list of simulated failures.
    pub fn failures_help(reply: &mut ReplyWriter<'_>) {
        reply.array(2);
        reply.bulk(b"crash-after-election");
        reply.bulk(b"crash-after-promotion");
    }
}

/// Sets an option of a master.
fn set_option(
    settings: &mut MasterSettings,
    denies_scripts: bool,
    option: &str,
    values: &[&str],
) -> Result<(), Refusal> {
    let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    let positive = |value: &str| parse_ms(value).ok_or(Refusal::Value(0));
    match (option, values) {
        ("down-after-milliseconds", [ms]) => settings.down_after_ms = positive(ms)?,
        ("failover-timeout", [ms]) => settings.failover_timeout_ms = positive(ms)?,
        ("parallel-syncs", [count]) => {
            settings.parallel_syncs = u32::try_from(positive(count)?).unwrap_or(u32::MAX);
        }
        ("quorum", [count]) => {
            settings.quorum = u32::try_from(positive(count)?).unwrap_or(u32::MAX);
        }
        ("notification-script" | "client-reconfig-script", [_]) if denies_scripts => {
            return Err(Refusal::Scripts);
        }
        ("notification-script", [path]) => settings.notification_script = text(path),
        ("client-reconfig-script", [path]) => settings.client_reconfig_script = text(path),
        ("auth-pass", [password]) => settings.auth_pass = text(password),
        ("auth-user", [user]) => settings.auth_user = text(user),
        ("rename-command", [command, renamed]) => {
            if let Some(empty) = [command, renamed].iter().position(|word| word.is_empty()) {
                return Err(Refusal::Value(empty));
            }
            settings.renamed.remove(&command.to_ascii_uppercase());
            if !command.eq_ignore_ascii_case(renamed) {
                settings.renamed.insert(command.to_ascii_uppercase(), (*renamed).to_owned());
            }
        }
        ("primary-reboot-down-after-period" | "master-reboot-down-after-period", [ms]) => {
            settings.reboot_down_after_ms = ms.parse().map_err(|_| Refusal::Value(0))?;
        }
        ("replica-forget-after", [ms]) => {
            settings.replica_forget_after_ms = ms.parse().map_err(|_| Refusal::Value(0))?;
        }
        ("sentinel-forget-after", [ms]) => {
            settings.sentinel_forget_after_ms = ms.parse().map_err(|_| Refusal::Value(0))?;
        }
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

fn refused(refusal: &Refusal, option: &str, values: &[&str]) -> ErrorReply {
    match refusal {
        Refusal::Unknown => {
            let text = "ERR Unknown option or number of arguments for SENTINEL SET '";
            ErrorReply::quoting(text, option.as_bytes(), "'")
        }
        Refusal::Value(index) => {
            let value = values.get(*index).copied().unwrap_or_default();
            let text = format!("' for SENTINEL SET '{option}'");
            ErrorReply::quoting("ERR Invalid argument '", value.as_bytes(), &text)
        }
        Refusal::Scripts => ErrorReply::err(
            "Reconfiguration of scripts path is denied for security reasons. Check the \
             deny-scripts-reconfig configuration directive in your Sentinel configuration",
        ),
    }
}
