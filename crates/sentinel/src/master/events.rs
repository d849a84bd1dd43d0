//! Events about a master, its replicas and the other Sentinels: logged, published, journaled, and told to the script.
//!
//! ```text
//!   +sdown              master mymaster 10.0.0.1 6379
//!   +slave              slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379
//!   +sentinel           sentinel <id> 10.0.0.3 26379 @ mymaster 10.0.0.1 6379
//! ```

use super::Master;
use crate::address::Address;
use crate::context::Context;
use crate::explain;
use crate::io::{Level, Output};
use russet_journal::Entry;

impl Master {
    /// Returns how events name this master.
    pub(crate) fn label(&self, cx: &Context) -> String {
        let address = &self.server.address;
        format!("master {} {} {}", self.name(), address.shown(&cx.globals), address.port)
    }

    fn behind(&self, cx: &Context) -> String {
        let address = &self.server.address;
        format!("@ {} {} {}", self.name(), address.shown(&cx.globals), address.port)
    }

    /// Returns how events name the server at this address: the master, or a replica.
    pub(super) fn server_label(&self, cx: &Context, id: u32) -> String {
        let Some(replica) = self.replica(id) else { return self.label(cx) };
        self.replica_label(cx, &replica.address)
    }

    pub(super) fn replica_label(&self, cx: &Context, address: &Address) -> String {
        let (name, host) = (address.with_port(&cx.globals), address.shown(&cx.globals));
        format!("slave {name} {host} {} {}", address.port, self.behind(cx))
    }

    pub(crate) fn sentinel_label(&self, cx: &Context, id: &str, address: &Address) -> String {
        let host = address.shown(&cx.globals);
        format!("sentinel {id} {host} {} {}", address.port, self.behind(cx))
    }

    /// Reports an event about the master.
    pub(super) fn event(&mut self, cx: &mut Context, level: Level, name: &str) {
        let text = self.label(cx);
        self.report(cx, level, name, text);
    }

    /// Reports an event about one of its servers.
    pub(super) fn server_event(&mut self, cx: &mut Context, level: Level, name: &str, id: u32) {
        let text = self.server_label(cx, id);
        self.report(cx, level, name, text);
    }

    /// Reports an event with its text.
    pub(crate) fn report(&mut self, cx: &mut Context, level: Level, name: &str, text: String) {
        cx.log(level, format!("{name} {text}"));
        if level != Level::Debug {
            let (channel, message) = (name.to_owned(), text.clone());
            cx.output(Output::Publish { channel, message });
        }
        if level == Level::Warning
            && let Some(script) = &self.settings.notification_script
        {
            cx.script_requests.push((script.clone(), vec![name.to_owned(), text.clone()]));
        }
        if level >= Level::Notice {
            self.record(cx, name, text);
        }
    }

    /// Writes a reason into the journal that is no event.
    pub(super) fn note(&mut self, cx: &mut Context, text: String) {
        self.record(cx, "note", text);
    }

    /// Logs the account of the failover that has just ended: one line, to be read by people.
    pub(super) fn log_account(&mut self, cx: &mut Context) {
        if let Some(sentences) = explain::account(&self.journal, &cx.my_id) {
            cx.log(Level::Notice, sentences.join(" "));
        }
    }

    fn record(&mut self, cx: &mut Context, event: &str, text: String) {
        cx.journal_is_new = true;
        let epoch = self.failover.as_ref().map_or(self.settings.config_epoch, |it| it.epoch);
        let (wall_ms, mono_ms) = (cx.now.wall_ms, Some(cx.now.mono_ms));
        self.journal.add(Entry { wall_ms, mono_ms, epoch, event: event.to_owned(), text });
    }
}
