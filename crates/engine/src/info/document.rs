//! `docs/info.md`: every field of INFO with what it tells.

use std::fmt::Write as _;

use super::{Section, Shown, Source, fields};

/// Fields that Redis 7.2 tells and we don't, with the reason.
pub const ABSENT: &[(Section, &str, &str)] = &[
    (Section::Server, "redis_build_id", "of Redis' build"),
    (Section::Server, "atomicvar_api", "of Redis' build"),
    (Section::Server, "gcc_version", "of Redis' build"),
    (Section::Memory, "lazyfreed_objects", "what another thread has freed is not counted"),
    (
        Section::Persistence,
        "loading_rdb_used_mem",
        "the loader does not keep that field of the file",
    ),
    (Section::Persistence, "aof_current_size", "with the append-only file"),
    (Section::Persistence, "aof_base_size", "with the append-only file"),
    (Section::Persistence, "aof_pending_rewrite", "with the append-only file"),
    (Section::Persistence, "aof_buffer_length", "with the append-only file"),
    (Section::Persistence, "aof_pending_bio_fsync", "with the append-only file"),
    (Section::Persistence, "aof_delayed_fsync", "with the append-only file"),
    (
        Section::Stats,
        "expired_stale_perc",
        "expiry goes by an exact index: there is no sample to estimate from",
    ),
    (Section::Stats, "reply_buffer_shrinks", "reply buffers work differently"),
    (Section::Stats, "reply_buffer_expands", "reply buffers work differently"),
    (
        Section::Latencystats,
        "latency_percentiles_usec_NAME",
        "latencies are not measured by command yet",
    ),
];

/// The part of `docs/compatibility.md` about INFO.
pub fn compatibility_md() -> String {
    let mut out = String::from("| section | field | why |\n|---|---|---|\n");
    for (section, name, why) in ABSENT {
        let _ = writeln!(out, "| {} | `{name}` | {why} |", section.title());
    }
    out
}

/// The page.
pub fn info_md() -> String {
    let mut out = String::from(
        "# Fields of INFO\n\n\
         Generated from the rows in `crates/engine/src/info`; edit those instead.\n\n\
         Names and formats are those of Redis 7.2; *constant* marks a field whose feature Russet doesn't have, so \
         that it always tells what an idle Redis tells. What Redis 7.2 tells and Russet doesn't is listed in \
         [compatibility.md](compatibility.md).\n",
    );
    for section in Section::ALL {
        let _ = writeln!(out, "\n## {}\n", section.title());
        out.push_str(match section.shown() {
            Shown::Default => "",
            Shown::All => "In `INFO all`, `INFO everything`, or by name.\n\n",
            Shown::Everything => "In `INFO everything`, or by name. Not a section of Redis.\n\n",
        });
        let mut rows = fields().filter(|field| field.section == section).peekable();
        if rows.peek().is_none() {
            out.push_str("The heading alone: there is nothing to tell.\n");
            continue;
        }
        out.push_str("| field | kind | what it tells |\n|---|---|---|\n");
        for row in rows {
            let kind = format!("{:?}", row.kind).to_lowercase();
            let note = match row.source {
                Source::Read(_) => String::new(),
                Source::Always(value) => format!(" *Constant: {value}.*"),
            };
            let meaning = row.meaning.replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {kind} | {meaning}{note} |", row.name);
        }
    }
    out
}
