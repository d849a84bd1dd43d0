//! A full synchronization from the replica's side: the header, then the payload.
//!
//! A payload is loaded while it arrives, into a second keyspace; the old data is served meanwhile
//! (if `replica-serve-stale-data` allows) and replaced only when the new data is complete.

use super::following::{Following, Rest};
use super::link::Stage;
use super::master::Master;
use super::payload::Payload;
use crate::clients::Clients;
use crate::core::{ClusterOrder, Core, Order};
use crate::ids::Handle;
use crate::injected::Bug;
use crate::io::{Level, Output, Status};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::mode::Mode;
use crate::persist::fill::{Fill, SLICE_BYTES, StreamPosition, reserve_max};
use crate::persist::progress::Progress;
use crate::persist::rdb_load::{LoadSettings, RdbLoader};

impl Following {
    /// Handles the header of a payload.
    pub(super) fn payload_header(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        data: &Keyspace,
        (id, offset): (String, i64),
        line: &str,
    ) {
        let mark = line.strip_prefix("$EOF:").filter(|mark| mark.len() == 40);
        let len = line.strip_prefix('$').and_then(|len| len.parse::<u64>().ok());
        if mark.is_none() && len.is_none() {
            let text = match line.strip_prefix('-') {
                Some(error) => format!("MASTER aborted replication with an error: {error}"),
                None => format!(
                    "Bad protocol from MASTER, the first byte is not '$' (we received '{line}'), are you sure the host and port are right?"
                ),
            };
            self.link_failed(core, clients, Level::Warning, &text);
            return;
        }
        let what = match len {
            Some(len) => format!("receiving {len} bytes from master"),
            None => "receiving streamed RDB from master with EOF".to_owned(),
        };
        core.log(Level::Notice, format!("MASTER <-> REPLICA sync: {what} to parser"));
        core.log(Level::Notice, "MASTER <-> REPLICA sync: Loading DB in memory");
        let len = len.filter(|_| mark.is_none());
        let payload = Payload {
            id,
            offset,
            len,
            fill: Fill::new(reserve_max(len)),
            progress: Progress::begin(core, len.unwrap_or(0)),
            mark: mark.map(|mark| mark.as_bytes().to_vec()),
            received: 0,
            loader: RdbLoader::new(LoadSettings::of(core)),
            fresh: Box::new(data.empty_like()),
            position: StreamPosition::default(),
            loaded: false,
            tail: Vec::new(),
        };
        if let Some(master) = &mut self.master {
            master.stage = Stage::Payload(Box::new(payload));
        }
    }

    /// Loads a slice of the payload. Returns what remains, unless other bytes follow the payload.
    pub(super) fn receive_payload(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &mut Keyspace,
        master: &mut Master,
        handle: Handle,
    ) -> Option<Rest> {
        let Some(client) = clients.get_mut(handle) else { return Some(Rest::Nothing) };
        let Some(Stage::Payload(payload)) = self.link_mut(handle).map(|link| &mut link.stage)
        else {
            return None;
        };
        let bytes = client.wire.pending_bytes();
        if bytes.is_empty() {
            return Some(Rest::Nothing);
        }
        if !payload.progress.is_ready(core) {
            payload.progress.wait(core);
            return Some(Rest::Nothing);
        }
        (payload.fresh.now_ms, payload.fresh.clock) = (data.now_ms, data.clock);
        let slice = &bytes[..bytes.len().min(SLICE_BYTES)];
        let (len, is_last) = (slice.len(), slice.len() == bytes.len());
        let taken = payload.take(slice, &core.config);
        payload.progress.note(core, &mut payload.fill);
        payload.progress.loaded_bytes = payload.received;
        payload.progress.delay(core, payload.fill.keys);
        client.wire.consume(taken.as_ref().map_or(len, |&(used, _)| used));
        match taken {
            Err(why) => self.payload_failed(core, clients, &why),
            Ok((_, false)) if is_last => return Some(Rest::Nothing),
            Ok((_, false)) => return Some(Rest::Payload),
            Ok((_, true)) => self.payload_complete(core, clients, journal, data, master),
        }
        None
    }

    fn payload_failed(&mut self, core: &mut Core, clients: &mut Clients, why: &str) {
        let text = format!("Failed trying to load the MASTER synchronization DB: {why}");
        self.link_failed(core, clients, Level::Warning, &text);
    }

    /// Replaces our data by the complete payload.
    fn payload_complete(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &mut Keyspace,
        master: &mut Master,
    ) {
        let Some(link) = &mut self.master else { return };
        if let Stage::Payload(payload) = &link.stage
            && payload.position.db >= data.count()
        {
            let why = format!(
                "its stream is in database {}, and this server has {} databases",
                payload.position.db,
                data.count()
            );
            return self.payload_failed(core, clients, &why);
        }
        let Stage::Payload(payload) = std::mem::replace(&mut link.stage, Stage::Retry) else {
            return;
        };
        link.has_history = true;
        payload.fill.count(core);
        master.disconnect_replicas(core, clients);
        if core.injected(Bug::KeptOldKeys) {
            data.merge(*payload.fresh);
        } else {
            data.replace_all(*payload.fresh);
        }
        // A master that is itself a replica passes on a stream that has already selected this
        // database.
        let selected_db = payload.position.db;
        master.stream.ids.id = payload.id;
        master.stream.ids.clear_previous();
        master.stream.restart_at(core, journal, payload.offset);
        core.order(Order::DataReplaced);
        if core.boot.mode == Mode::Cluster {
            core.order(Order::Cluster(ClusterOrder::OpenSlots(payload.position.open_slots)));
        }
        core.log(Level::Notice, "MASTER <-> REPLICA sync: Finished with success");
        core.output(Output::Status(Status::Synced));
        self.go_online(core, selected_db);
    }
}
