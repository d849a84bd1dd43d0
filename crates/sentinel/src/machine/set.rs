//! SENTINEL SET and SENTINEL CONFIG: settings of a master, and of all. Which there are is in the table of statements.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::{End, Sentinel};
use crate::io::{Level, Now, Programs};
use crate::settings::{
    CONFIG, Globals, MasterSettings, RECONNECT, SECRET, SET, STATEMENTS, Source, Statement, Wrong,
};

/// Returns the row of an option, if a command with this flag has it.
fn row_of(option: &str, flag: u8) -> Option<&'static Statement> {
    Statement::find(option).filter(|row| row.has(flag))
}

impl Sentinel {
    /// SENTINEL SET: options and their values. Those before an error are kept, as in Redis.
    pub fn set(&mut self, now: Now, name: &[u8], words: &[&str]) -> Result<End, ErrorReply> {
        self.advance(now);
        let number = self.find(name)?.number;
        let programs = (!self.cx.globals.deny_scripts_reconfig).then_some(self.cx.programs);
        let mut words_left = words;
        let mut result = Ok(());
        while let [option, rest @ ..] = words_left {
            let Some(master) = self.masters.get_mut(&number) else { break };
            let (row, values) = match set_option(&mut master.settings, programs, option, rest) {
                Ok(set) => set,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let shown = if row.has(SECRET) { "******".to_owned() } else { values.join(" ") };
            let text = format!("{} {option} {shown}", master.label(&self.cx));
            master.report(&mut self.cx, Level::Warning, "+set", text);
            if row.has(RECONNECT) {
                master.close(&mut self.cx);
            }
            words_left = &rest[values.len()..];
        }
        let has_changed = words_left.len() < words.len();
        if has_changed {
            self.settings_changed();
        }
        let end = if has_changed { self.save() } else { End::Done };
        result.map(|()| end)
    }

    /// Checks an option of SENTINEL CONFIG SET and its value.
    pub fn check_config(option: &str, value: &str) -> Result<(), ErrorReply> {
        let Some(row) = row_of(option, CONFIG) else { return Ok(()) };
        row.set(&mut Globals::default(), value, Source::Command).map_err(|_| {
            let text = format!("' to SENTINEL CONFIG SET '{option}'");
            ErrorReply::quoting("ERR Invalid value '", value.as_bytes(), &text)
        })
    }

    /// SENTINEL CONFIG SET, without `loglevel`, of options that [`Self::check_config`] has accepted.
    pub fn config_set(&mut self, now: Now, pairs: &[(&str, &str)]) -> Result<End, ErrorReply> {
        self.advance(now);
        for (option, value) in pairs {
            Self::check_config(option, value)?;
        }
        for (option, value) in pairs {
            let Some(row) = row_of(option, CONFIG) else { continue };
            let result = row.set(&mut self.cx.globals, value, Source::Command);
            if result.is_ok() && row.has(RECONNECT) {
                self.peers.close_all(&mut self.cx);
            }
        }
        Ok(self.save())
    }

    /// Whether SENTINEL CONFIG knows a setting of the machine by this name.
    pub fn has_global(name: &str) -> bool {
        row_of(name, CONFIG).is_some()
    }

    /// Returns the settings of SENTINEL CONFIG GET with their values, in Redis' order.
    pub fn globals(&self) -> Vec<(&'static str, String)> {
        let rows = STATEMENTS.iter().filter(|row| row.has(CONFIG));
        rows.map(|row| (row.name, row.value(&self.cx.globals))).collect()
    }

    /// Writes the list of simulated failures.
    pub fn failures_help(reply: &mut ReplyWriter<'_>) {
        reply.array(2);
        reply.bulk(b"crash-after-election");
        reply.bulk(b"crash-after-promotion");
    }
}

/// Sets an option of a master; without `programs` no script may be set. Returns its row, and its values at the start of
/// `words`.
fn set_option<'a, 'b>(
    settings: &mut MasterSettings,
    programs: Option<Programs>,
    option: &str,
    words: &'a [&'b str],
) -> Result<(&'static Statement, &'a [&'b str]), ErrorReply> {
    let row = row_of(option, SET);
    let values = row.and_then(|row| words.get(..row.arguments.len()));
    let (Some(row), Some(values)) = (row, values) else {
        let text = "ERR Unknown option or number of arguments for SENTINEL SET '";
        return Err(ErrorReply::quoting(text, option.as_bytes(), "'"));
    };
    if row.is_script() && programs.is_none() {
        return Err(ErrorReply::err(
            "Reconfiguration of scripts path is denied for security reasons. Check the \
             deny-scripts-reconfig configuration directive in your Sentinel configuration",
        ));
    }
    let path = values.first().copied().unwrap_or_default();
    let is_there = row.refuse_program(path, programs.unwrap_or_default());
    let set = |()| row.set_of(settings, values, Source::Command);
    is_there.map_err(Wrong::Reason).and_then(set).map_err(|wrong| match wrong {
        Wrong::Argument(index, _) => {
            let value = values.get(index).copied().unwrap_or_default();
            let text = format!("' for SENTINEL SET '{option}'");
            ErrorReply::quoting("ERR Invalid argument '", value.as_bytes(), &text)
        }
        Wrong::Reason(reason) => ErrorReply::err(reason.trim_end_matches('.')),
    })?;
    Ok((row, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use crate::io::Output;
    use crate::machine::Boot;
    use crate::settings::{FILE, Subject};

    fn sentinel(lines: &str) -> Sentinel {
        let words = |line: &str| line.split(' ').map(|word| word.into()).collect();
        let lines: Vec<_> =
            format!("monitor m 10.0.0.1 6379 2\n{lines}").lines().map(words).collect();
        let settings = Settings::parse(&lines).unwrap();
        let boot = Boot { new_id: "a".repeat(40), ..Boot::default() };
        Sentinel::new(settings, boot, Now::default())
    }

    fn set(sentinel: &mut Sentinel, words: &[&str]) -> Result<End, String> {
        let text = |error: ErrorReply| String::from_utf8(error.bytes().into_owned()).unwrap();
        sentinel.set(Now::default(), b"m", words).map_err(text)
    }

    /// Returns the events `+set`.
    fn events(sentinel: &mut Sentinel) -> Vec<String> {
        let outputs = std::iter::from_fn(|| sentinel.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::Publish { channel, message } if channel == "+set" => Some(message),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn each_option_is_set_saved_and_told() {
        for row in STATEMENTS.iter().filter(|row| row.has(SET)) {
            let mut it = sentinel("deny-scripts-reconfig no");
            let words: Vec<&str> =
                std::iter::once(row.name).chain(row.example.split(' ')).collect();
            assert!(matches!(set(&mut it, &words), Ok(End::AfterSave(_))), "{}", row.name);
            let line = match row.name {
                "quorum" => format!("monitor m 10.0.0.1 6379 {}", row.example),
                name => format!("{name} m {}", row.example),
            };
            assert!(it.state_lines().contains(&line.into_bytes()), "{}", row.name);
            let shown = if row.has(SECRET) { "******" } else { row.example };
            assert_eq!(events(&mut it), [format!("master m 10.0.0.1 6379 {} {shown}", row.name)]);
        }
    }

    #[test]
    fn each_option_for_all_masters_is_set_and_returned() {
        for row in STATEMENTS.iter().filter(|row| row.has(CONFIG)) {
            assert_eq!(row.subject, Subject::All, "{}", row.name);
            let mut it = sentinel("");
            let before = it.globals();
            assert!(it.config_set(Now::default(), &[(row.name, row.example)]).is_ok());
            let changed: Vec<_> =
                it.globals().into_iter().filter(|pair| !before.contains(pair)).collect();
            assert_eq!(changed, [(row.name, row.example.to_owned())]);
            let line = format!("{} {}", row.name, row.example).into_bytes();
            assert!(it.state_lines().contains(&line), "{}", row.name);
        }
        let names: Vec<&str> = sentinel("").globals().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names.join(" "),
            "resolve-hostnames announce-hostnames announce-ip announce-port sentinel-user sentinel-pass"
        );
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for row in STATEMENTS.iter().filter(|row| row.has(FILE) && !row.has(SET)) {
            let error = set(&mut sentinel(""), &[row.name, "1"]).unwrap_err();
            let unknown = "ERR Unknown option or number of arguments for SENTINEL SET";
            assert_eq!(error, format!("{unknown} '{}'", row.name));
        }
        assert!(!Sentinel::has_global("quorum") && !Sentinel::has_global("deny-scripts-reconfig"));
        assert!(Sentinel::has_global("ANNOUNCE-ip"));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let denied = "ERR Reconfiguration of scripts path is denied for security reasons. Check the \
                      deny-scripts-reconfig configuration directive in your Sentinel configuration";
        let cases: &[(&[&str], &str)] = &[
            (&["Quorum", "0"], "ERR Invalid argument '0' for SENTINEL SET 'Quorum'"),
            (
                &["parallel-syncs", "0"],
                "ERR Invalid argument '0' for SENTINEL SET 'parallel-syncs'",
            ),
            (
                &["failover-timeout", "-1"],
                "ERR Invalid argument '-1' for SENTINEL SET 'failover-timeout'",
            ),
            (
                &["rename-command", "", "x"],
                "ERR Invalid argument '' for SENTINEL SET 'rename-command'",
            ),
            (
                &["rename-command", "config"],
                "ERR Unknown option or number of arguments for SENTINEL SET 'rename-command'",
            ),
            (&["notification-script", "/bin/true"], denied),
            (&["client-reconfig-script", ""], denied),
        ];
        for (words, error) in cases {
            assert_eq!(set(&mut sentinel(""), words).unwrap_err(), *error);
        }
        let long = "x/".repeat(3000) + "x";
        for path in ["/folder/", "/nul\0", &long, &"n".repeat(256)] {
            let mut it = sentinel("deny-scripts-reconfig no");
            let error = set(&mut it, &["notification-script", path]).unwrap_err();
            assert_eq!(error, "ERR Notification script seems non existing or non executable");
            let error = set(&mut it, &["client-reconfig-script", path]).unwrap_err();
            assert_eq!(
                error,
                "ERR Client reconfiguration script seems non existing or non executable"
            );
        }
        let error = Sentinel::check_config("announce-port", "65536").unwrap_err();
        let text = b"ERR Invalid value '65536' to SENTINEL CONFIG SET 'announce-port'";
        assert_eq!(error.bytes().as_ref(), text);
    }

    #[test]
    fn an_empty_text_removes_a_value_and_a_commands_own_name_its_other() {
        let mut it = sentinel(
            "deny-scripts-reconfig no\nauth-pass m x\nauth-user m y\nnotification-script m /z\n\
             rename-command m CONFIG guessme",
        );
        let words = ["auth-pass", "", "auth-user", "", "notification-script", ""];
        assert!(set(&mut it, &words).is_ok());
        assert!(set(&mut it, &["rename-command", "config", "Config"]).is_ok());
        let lines: Vec<String> =
            it.state_lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(
            lines[1..],
            [
                "deny-scripts-reconfig no",
                "monitor m 10.0.0.1 6379 2",
                "config-epoch m 0",
                "leader-epoch m 0",
                "current-epoch 0"
            ]
        );
    }

    #[test]
    fn options_before_a_wrong_one_are_kept() {
        let mut it = sentinel("");
        assert!(set(&mut it, &["quorum", "5", "nothing", "1"]).is_err());
        assert!(it.state_lines().contains(&b"monitor m 10.0.0.1 6379 5".to_vec()));
    }
}
