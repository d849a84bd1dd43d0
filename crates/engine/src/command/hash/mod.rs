//! Hashes.
//!
//! * `read.rs`: fields and values
//! * `write.rs`: setting and deleting fields
//! * `number.rs`: numbers in fields
//! * `scan.rs`: a few fields at a time
//! * `random.rs`: fields at random
//! * `expiry.rs`: expiration times of fields
//! * `together.rs`: values and expiration times at once
//!
//! A field that has reached its expiry is hidden from commands. A master deletes it before a command that names it
//! changes the hash, and propagates that, so that its replicas make the same of the command.

mod expiry;
mod number;
mod random;
mod read;
mod scan;
mod together;
mod write;

use russet_ds::listpack::{Digits, Element};
use russet_protocol::ErrorReply;

use super::{Command, Ctx, Group, Reply, acl};
use crate::keyspace::{Change, ExpiryPolicy, Key, Keyspace};
use crate::types::Names;
use crate::types::hash::{Field, Hash, HashMut, HashRef};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    write::HSET,
    write::HMSET,
    write::HSETNX,
    write::HDEL,
    read::HGET,
    read::HMGET,
    read::HGETALL,
    read::HKEYS,
    read::HVALS,
    read::HLEN,
    read::HSTRLEN,
    read::HEXISTS,
    number::HINCRBY,
    number::HINCRBYFLOAT,
    scan::HSCAN,
    random::HRANDFIELD,
    expiry::HEXPIRE,
    expiry::HPEXPIRE,
    expiry::HEXPIREAT,
    expiry::HPEXPIREAT,
    expiry::HTTL,
    expiry::HPTTL,
    expiry::HEXPIRETIME,
    expiry::HPEXPIRETIME,
    expiry::HPERSIST,
    together::HGETDEL,
    together::HGETEX,
    together::HSETEX,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Hash, acl: acl::HASH, ..Command::ROW };

/// A hash as seen by a command; a missing one has no fields.
#[derive(Clone, Copy)]
struct View<'a> {
    hash: Option<HashRef<'a>>,
    /// Fields whose expiry is before this are hidden.
    hidden_before: i64,
}

impl<'a> View<'a> {
    fn is_visible(self, field: &Field<'_>) -> bool {
        is_visible(field, self.hidden_before)
    }

    fn get(self, name: &[u8]) -> Option<Field<'a>> {
        self.hash?.get(name).filter(|field| self.is_visible(field))
    }

    fn len(self) -> usize {
        self.hash.map_or(0, |hash| hash.len() - hash.count_expired(self.hidden_before))
    }

    /// Whether fields are hidden.
    fn hides_some(self) -> bool {
        self.hash.is_some_and(|hash| hash.count_expired(self.hidden_before) > 0)
    }

    fn each(self, sink: &mut dyn FnMut(Field<'a>)) {
        let Some(hash) = self.hash else { return };
        hash.each(&mut |field| {
            if self.is_visible(&field) {
                sink(field);
            }
        });
    }
}

/// Reads a hash: hides an expired key, counts a hit or a miss, updates the access time.
fn read<'a>(ctx: &'a mut Ctx<'_>, key: Key<'_>) -> Result<View<'a>, ErrorReply> {
    view(ctx.data, ctx.call.db, key)
}

/// Reads a hash as above, without borrowing the whole context.
fn view<'a>(data: &'a mut Keyspace, db: u32, key: Key<'_>) -> Result<View<'a>, ErrorReply> {
    let hidden_before = hidden_before(data);
    let entry = data.read(db, key);
    let hash = entry.map(|entry| HashRef::of(&entry).ok_or(ErrorReply::WrongType)).transpose()?;
    Ok(View { hash, hidden_before })
}

/// Fields whose expiry is before this are hidden from the command.
pub(in crate::command) fn hidden_before(data: &Keyspace) -> i64 {
    if data.policy == ExpiryPolicy::Ignore { i64::MIN } else { data.now_ms }
}

/// Whether a field has not expired, or expired ones are not hidden.
pub(in crate::command) fn is_visible(field: &Field<'_>, hidden_before: i64) -> bool {
    field.expiry.is_none_or(|at| at >= hidden_before)
}

/// Returns the field with this name in a hash being changed, unless it is hidden.
fn visible<'h>(hash: &'h HashMut<'_>, name: &[u8], hidden_before: i64) -> Option<Field<'h>> {
    hash.get(name).filter(|field| is_visible(field, hidden_before))
}

/// Deletes those of the named fields that have expired, and lends the hash of a key to `change`.
fn change<'n, R>(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    names: impl Iterator<Item = &'n [u8]>,
    change: impl FnOnce(&mut HashMut<'_>) -> Change<R>,
) -> Result<R, ErrorReply> {
    let hidden_before = hidden_before(ctx.data);
    if deletes_expired(ctx, key, hidden_before) {
        // Propagated first: if no field is left, the key is deleted here and on replicas.
        ctx.change::<Hash, ()>(key, |hash| {
            let expired = delete_expired(hash, names, hidden_before);
            Change { expired, ..Change::none(()) }
        })?;
    }
    ctx.change::<Hash, R>(key, change)
}

/// Whether the hash of a key may have expired fields that are to be deleted here.
fn deletes_expired(ctx: &Ctx<'_>, key: Key<'_>, before: i64) -> bool {
    let db = ctx.data.db(ctx.call.db);
    if ctx.data.policy != ExpiryPolicy::Remove || db.len_with_expiring_elements() == 0 {
        return false;
    }
    let hash = db.get(key).and_then(|entry| HashRef::of(&entry));
    hash.and_then(HashRef::earliest_expiry).is_some_and(|at| at < before)
}

/// Deletes the named fields that have expired, and returns their names.
fn delete_expired<'n>(
    hash: &mut HashMut<'_>,
    names: impl Iterator<Item = &'n [u8]>,
    before: i64,
) -> Names {
    let mut expired = Names::new();
    for name in names {
        let expiry = hash.get(name).and_then(|field| field.expiry);
        if expiry.is_some_and(|at| at < before) {
            hash.remove(name);
            expired.push(name.into());
        }
    }
    expired
}

/// Replies with a name or a value.
fn reply_text(reply: &mut Reply<'_>, text: Element<'_>) {
    reply.bulk(text.text(&mut Digits::default()));
}

fn reply_value(reply: &mut Reply<'_>, field: Option<Field<'_>>) {
    match field {
        Some(field) => reply_text(reply, field.value),
        None => reply.null(),
    }
}
