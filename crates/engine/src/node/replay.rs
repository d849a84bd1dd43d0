//! Replays the append-only file at the start: runs its commands, a slice a turn. See [`crate::persist::aof::load`].

use russet_protocol::{ErrorReply, Protocol, ReplyWriter};

use super::Node;
use super::gathered::Gathered;
use crate::call::{Call, Caller};
use crate::command::{Args, Command, Flow, Reply, flag};
use crate::core::Order;
use crate::ids::Handle;
use crate::io::{FileEvent, Host, Level};
use crate::parts::Parts;
use crate::persist::aof::files::Loaded;
use crate::persist::aof::load::{AofLoad, Ended, Source};
use crate::persist::aof::read::Step;
use crate::persist::fill::Filler;
use crate::persist::rdb_load::Fed;
use crate::transaction::Transaction;

/// Bytes of commands between looks at the clock.
const SLICE_BYTES: usize = 8192;

/// What commands of the file change besides the data.
struct Session<'a> {
    /// The commands since MULTI.
    transaction: &'a mut Transaction,
    /// The selected database.
    db: &'a mut u32,
}

impl Node {
    /// Replays at least one slice, and further ones until `until_us` on the host's clock.
    pub(super) fn replay(&mut self, host: &mut dyn Host, until_us: u64) {
        let Some(mut load) = self.parts.loading.aof.take() else { return };
        while let Some(event) = load.next_event() {
            let ended = match event {
                FileEvent::Opened(len) => {
                    load.opened(&mut self.core, len);
                    None
                }
                FileEvent::Bytes(bytes) => self.replay_piece(&mut load, bytes, host, until_us),
                FileEvent::End => Some(self.replay_end(&mut load, host)),
                FileEvent::Missing => Some(load.missing(&mut self.core)),
                FileEvent::Failed(why) => Some(Ended::Failed(format!("{}: {why}", load.name()))),
            };
            match ended {
                None | Some(Ended::Continues) => {}
                Some(ended) => return self.replayed(load, ended),
            }
            if host.ticks_us() >= until_us {
                break;
            }
        }
        self.parts.loading.aof = Some(load);
    }

    fn replay_piece(
        &mut self,
        load: &mut AofLoad,
        mut bytes: Vec<u8>,
        host: &mut dyn Host,
        until_us: u64,
    ) -> Option<Ended> {
        if let Some(known) = load.identify(&self.core, &bytes, false) {
            bytes = known;
            let mut at = 0;
            while at < bytes.len() {
                let end = bytes.len().min(at + SLICE_BYTES);
                if let Err(why) = self.replay_slice(load, &bytes[at..end], host) {
                    load.stop(&mut self.core);
                    return Some(Ended::Failed(format!("{}: {why}", load.name())));
                }
                at = end;
                if at < bytes.len() && host.ticks_us() >= until_us {
                    load.put_back(bytes.split_off(at));
                    return None;
                }
            }
        }
        load.more(&mut self.core);
        None
    }

    fn replay_end(&mut self, load: &mut AofLoad, host: &mut dyn Host) -> Ended {
        if matches!(load.source, Source::Unknown(..))
            && let Some(bytes) = load.identify(&self.core, &[], true)
            && let Err(why) = self.replay_slice(load, &bytes, host)
        {
            return Ended::Failed(format!("{}: {why}", load.name()));
        }
        load.ended(&mut self.core)
    }

    /// Loads bytes of the current file.
    fn replay_slice(
        &mut self,
        load: &mut AofLoad,
        bytes: &[u8],
        host: &mut dyn Host,
    ) -> Result<(), String> {
        load.progress.loaded_bytes += bytes.len() as u64;
        let mut input = bytes;
        if let Source::Rdb(loader, len) = &mut load.source {
            let Node { core, data, .. } = self;
            let mut position = Default::default();
            let filler = Filler::new(data, &core.config, &mut position, &mut load.fill);
            let fed = filler.feed(loader, input);
            load.progress.note(core, &mut load.fill);
            match fed? {
                Fed::NeedMore => return Ok(()),
                Fed::Done { consumed } => {
                    load.fill.count(core);
                    let offset = loader.offset();
                    let reader = crate::persist::aof::read::AofReader::new(offset, *len);
                    load.source = Source::Commands(Box::new(reader));
                    input = &input[consumed..];
                }
            }
        }
        let hasher = self.data.hasher();
        let AofLoad { source: Source::Commands(reader), transaction, db, .. } = load else {
            return Ok(());
        };
        let (mut session, mut gathered) = (Session { transaction, db }, Gathered::default());
        loop {
            match reader.next(&mut input) {
                Step::NeedMore => return self.replay_gathered(&mut session, &mut gathered, host),
                Step::Timestamp { .. } => {}
                Step::Command { offset, bytes, args } if Gathered::is_too_long(bytes) => {
                    self.replay_gathered(&mut session, &mut gathered, host)?;
                    let args = Args::new(bytes, args, hasher);
                    let found = args.get(0).and_then(|name| self.commands.find(name));
                    let result = self.replay_command(&mut session, found, &args, host);
                    result.map_err(|why| format!("offset {offset}: {why}"))?;
                }
                Step::Command { offset, bytes, args } => {
                    gathered.push(offset, bytes, args, &self.commands, hasher);
                    if gathered.is_full() {
                        self.replay_gathered(&mut session, &mut gathered, host)?;
                    }
                }
            }
        }
    }

    fn replay_gathered(
        &mut self,
        session: &mut Session<'_>,
        gathered: &mut Gathered,
        host: &mut dyn Host,
    ) -> Result<(), String> {
        gathered.prefetch(&self.data, *session.db);
        for index in 0..gathered.len() {
            let (offset, found, args) = gathered.get(index, self.data.hasher());
            let result = self.replay_command(session, found, &args, host);
            result.map_err(|why| format!("offset {offset}: {why}"))?;
        }
        gathered.clear();
        Ok(())
    }

    fn replay_command(
        &mut self,
        Session { transaction, db }: &mut Session<'_>,
        found: Option<&'static Command>,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) -> Result<(), String> {
        if found.is_none() {
            let name = args.get(0).unwrap_or_default().escape_ascii();
            return Err(format!("Unknown command '{name:.128}' reading the append only file"));
        }
        let command = self.resolve(found, args).map_err(|error| error.to_string())?;
        match command.name {
            "multi" => transaction.open = true,
            "exec" => {
                transaction.open = false;
                while let Some(queued) = transaction.queue.pop_front() {
                    let row = self.commands.row(queued.command);
                    let args = Args::of_queued(&queued, self.data.hasher());
                    self.replay_one(db, row, &args, host)?;
                }
            }
            _ if command.has(flag::ADMIN) && !command.has(flag::FROM_MASTER) => {
                return Err(format!("'{}' is not a command of a data set", command.name));
            }
            _ if transaction.open => transaction.push(self.queued(command, args), command.flags),
            _ => self.replay_one(db, command, args, host)?,
        }
        Ok(())
    }

    fn replay_one(
        &mut self,
        db: &mut u32,
        command: &'static Command,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) -> Result<(), String> {
        let mut call =
            Call { caller: Caller::Master, session: None, db: *db, protocol: Protocol::Resp2 };
        let (mut out, mut shared, dirty) = (Vec::new(), Vec::new(), self.data.dirty);
        let writer = ReplyWriter::new(&mut out, call.protocol).with_max(0);
        let outcome =
            self.run(&mut call, command, args, &mut Reply::new(writer, &mut shared), host);
        self.gather_effects(*db, dirty, command, args);
        self.propagate(super::dispatch::Propagation::Together);
        *db = call.db;
        match outcome {
            Ok(Flow::Done) => Ok(()),
            Ok(_) => Err(format!("'{}' is not a command of a data set", command.name)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Node {
    /// Begins a DEBUG LOADAOF that waited until all of the append-only file is written.
    pub(super) fn begin_awaited_replay(&mut self) {
        let Node { core, data, journal, parts, .. } = self;
        let Parts { loading, aof, .. } = parts;
        if loading.aof_wanted.is_none() || !aof.is_written(&journal.tail) {
            return;
        }
        let Some(client) = loading.aof_wanted.take() else { return };
        journal.set_muted(true);
        data.replace_all(data.empty_like());
        loading.aof = Some(AofLoad::begin(core, Some(client)));
    }

    /// Handles the end of a DEBUG LOADAOF.
    fn replayed_again(&mut self, client: Handle, ended: Ended) {
        self.journal.set_muted(false);
        let result = match ended {
            Ended::Failed(why) => {
                self.core.log(Level::Warning, why);
                let text = "Error trying to load the AOF files, check server logs.";
                Err(ErrorReply::err(text))
            }
            _ => Ok(()),
        };
        self.core.order(Order::Reloaded { client, result });
    }

    /// Handles the end of the load.
    fn replayed(&mut self, load: Box<AofLoad>, ended: Ended) {
        if let Some(client) = load.client {
            return self.replayed_again(client, ended);
        }
        let Node { core, journal, parts, .. } = self;
        match ended {
            Ended::Continues => {}
            Ended::Missing => parts.loading.begin_dump_at_start(core),
            Ended::Failed(why) => {
                core.log(Level::Warning, why);
                let text = "Fatal error loading the append only file, check server logs. Exiting.";
                core.order(Order::Stop(text.to_owned()));
            }
            Ended::Done(end) => {
                let seconds = core.now.mono_us.saturating_sub(load.progress.began_us) as f64 / 1e6;
                let text = format!("DB loaded from append only file: {seconds:.3} seconds");
                core.log(Level::Notice, text);
                core.order(Order::LoadedAtStart);
                let AofLoad { manifest, progress, base_bytes, .. } = *load;
                let bytes = progress.loaded_bytes;
                let loaded = Loaded { manifest, end: *end, bytes, base_bytes };
                parts.aof.resume(core, &mut journal.tail, &mut parts.clients, loaded);
            }
        }
    }
}
