//! The subcommands of SENTINEL that change something, except SET and CONFIG.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::{End, Sentinel};
use crate::context::SimulatedFailures;
use crate::io::{Level, Now};
use crate::master::{FailoverKind, Master};
use crate::periods::{Periods, ROWS};
use crate::scripts::State;
use crate::settings::{MasterSettings, parse_ms};

impl Sentinel {
    /// SENTINEL FAILOVER: `is_coordinated` with the help of the master.
    pub fn failover(
        &mut self,
        now: Now,
        name: &[u8],
        is_coordinated: bool,
    ) -> Result<(), ErrorReply> {
        self.advance(now);
        let number = self.find(name)?.number;
        let Sentinel { cx, masters, .. } = self;
        let Some(master) = masters.get_mut(&number) else { return Ok(()) };
        if master.failover.is_some() {
            return Err(ErrorReply::Text("INPROG Failover already in progress".into()));
        }
        if master.choose_replica(cx).replica.is_none() {
            return Err(ErrorReply::Text("NOGOODSLAVE No suitable replica to promote".into()));
        }
        if is_coordinated && (master.server.is_down() || !master.server.link.has_commands()) {
            return Err(ErrorReply::Text("NOMASTER The master is not reachable".into()));
        }
        let text = format!("Executing user requested FAILOVER of '{}'", master.name());
        cx.log(Level::Notice, text);
        let kind = if is_coordinated { FailoverKind::Coordinated } else { FailoverKind::Forced };
        master.start_failover(cx, kind);
        self.schedule(number, 0);
        self.run_due();
        Ok(())
    }

    /// SENTINEL MONITOR.
    pub fn monitor(&mut self, now: Now, words: [&str; 4]) -> Result<End, ErrorReply> {
        self.advance(now);
        let [name, host, port, quorum] = words;
        let number = |word: &str, error: &'static str| {
            word.parse::<i64>().map_err(|_| ErrorReply::err(error))
        };
        let quorum = number(quorum, "Invalid quorum")?;
        let port = number(port, "Invalid port")?;
        if quorum <= 0 {
            return Err(ErrorReply::err("Quorum must be 1 or greater."));
        }
        if self.cx.globals.check_host(host).is_err() {
            return Err(ErrorReply::err("Invalid IP address or hostname specified"));
        }
        let port = u16::try_from(port).map_err(|_| ErrorReply::err("Invalid port number."))?;
        if self.names.contains_key(name) {
            return Err(ErrorReply::err("Duplicate master name."));
        }
        if name.is_empty() || name.contains(|c: char| c.is_control() || c == ',') {
            return Err(ErrorReply::err("Invalid master name"));
        }
        let quorum = u32::try_from(quorum).unwrap_or(u32::MAX);
        let mut settings = MasterSettings::new(name, host, port, quorum);
        settings.down_after_ms = self.cx.periods.down_after;
        settings.failover_timeout_ms = self.cx.periods.failover_timeout;
        // There may have been a master of this name before, for which we have voted.
        settings.leader_epoch = self.cx.epoch;
        let Sentinel { cx, peers, .. } = self;
        let master = Master::new(cx, peers, settings);
        cx.changed();
        self.add(master);
        Ok(self.save())
    }

    /// Saves the state. The reply of the command waits for it.
    pub(super) fn save(&mut self) -> End {
        self.cx.changed();
        let version = self.cx.version_of_changes();
        self.run_due();
        End::AfterSave(version)
    }

    /// SENTINEL FLUSHCONFIG.
    pub fn flush_config(&mut self, now: Now) -> End {
        self.advance(now);
        self.save()
    }

    /// SENTINEL REMOVE.
    pub fn remove(&mut self, now: Now, name: &[u8]) -> Result<End, ErrorReply> {
        self.advance(now);
        let number = self.find(name)?.number;
        if let Some(mut master) = self.masters.remove(&number) {
            let text = master.label(&self.cx);
            master.report(&mut self.cx, Level::Warning, "-monitor", text);
            master.close(&mut self.cx);
            self.names.remove(&master.settings.name);
        }
        if let Some(at) = self.due_of.remove(&number) {
            self.due.remove(&(at, number));
        }
        self.settings_changed();
        Ok(self.save())
    }

    /// SENTINEL RESET of the masters whose names match. Returns how many.
    pub fn reset(&mut self, now: Now, matches: &dyn Fn(&[u8]) -> bool) -> usize {
        self.advance(now);
        let Sentinel { cx, masters, peers, .. } = self;
        let mut count = 0;
        for master in masters.values_mut().filter(|master| matches(master.settings.name.as_bytes()))
        {
            master.reset(cx, peers);
            count += 1;
        }
        self.settings_changed();
        self.run_due();
        count
    }

    /// SENTINEL SIMULATE-FAILURE.
    pub fn simulate_failure(&mut self, failures: SimulatedFailures) {
        self.cx.failures = failures;
        let who = "Failure simulation: this Sentinel will crash after";
        if failures.after_election {
            let text = format!("{who} being successfully elected as failover leader");
            self.cx.log(Level::Warning, text);
        }
        if failures.after_promotion {
            let text = format!("{who} promoting the selected replica to master");
            self.cx.log(Level::Warning, text);
        }
    }

    /// Returns the simulated failures.
    pub fn simulated_failures(&self) -> SimulatedFailures {
        self.cx.failures
    }

    /// SENTINEL DEBUG without arguments: the periods.
    pub fn debug(&mut self, reply: &mut ReplyWriter<'_>) {
        reply.map(ROWS.len());
        for (name, period) in ROWS {
            reply.bulk(name.to_ascii_uppercase().as_bytes());
            reply.bulk(period(&mut self.cx.periods).to_string().as_bytes());
        }
    }

    /// SENTINEL DEBUG with a period and its value.
    pub fn set_period(&mut self, now: Now, words: &[&str]) -> Result<(), ErrorReply> {
        self.advance(now);
        for pair in words.chunks(2) {
            let row = ROWS.iter().find(|(name, _)| name.eq_ignore_ascii_case(pair[0]));
            let (Some((_, period)), Some(value)) = (row, pair.get(1)) else {
                let text = "Unknown option or number of arguments for SENTINEL DEBUG";
                return Err(ErrorReply::quoting(&format!("ERR {text} '"), pair[0].as_bytes(), "'"));
            };
            let Some(ms) = parse_ms(value) else {
                let text = format!("' for SENTINEL DEBUG '{}'", pair[0]);
                return Err(ErrorReply::quoting("ERR Invalid argument '", value.as_bytes(), &text));
            };
            let periods: &mut Periods = &mut self.cx.periods;
            *period(periods) = ms;
        }
        self.settings_changed();
        self.run_due();
        Ok(())
    }

    /// SENTINEL PENDING-SCRIPTS.
    pub fn pending_scripts(&mut self, now: Now, reply: &mut ReplyWriter<'_>) {
        self.cx.now = now;
        let ms = self.cx.ms();
        let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        reply.array(self.scripts.queue.len());
        for script in &self.scripts.queue {
            let (state, time, since) = match script.state {
                State::Running(_, since, _) => ("running", "run-time", ms.saturating_sub(since)),
                State::Waiting(at) => ("scheduled", "run-delay", at.saturating_sub(ms)),
            };
            reply.map(5);
            reply.bulk(b"argv");
            reply.array(script.arguments.len() + 1);
            reply.bulk(script.path.as_bytes());
            script.arguments.iter().for_each(|argument| reply.bulk(argument.as_bytes()));
            reply.bulk(b"flags");
            reply.bulk(state.as_bytes());
            reply.bulk(b"pid");
            reply.bulk_integer(i64::from(script.pid));
            reply.bulk(time.as_bytes());
            reply.bulk_integer(integer(since));
            reply.bulk(b"retry-num");
            reply.bulk_integer(i64::from(script.tries));
        }
    }
}
