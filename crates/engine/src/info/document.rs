//! Generates `docs/info.md`, which describes every field of INFO.

use std::fmt::Write as _;

use super::{Section, Shown, Source, fields};

/// Fields of Redis 7.2 that Russet omits, with the reason.
pub const ABSENT: &[(Section, &str, &str)] = &[
    (Section::Server, "redis_build_id", "describes Redis' build"),
    (Section::Server, "atomicvar_api", "describes Redis' build"),
    (Section::Server, "gcc_version", "describes Redis' build"),
    (
        Section::Stats,
        "expired_stale_perc",
        "expiry uses an exact index: there is no sample to estimate from",
    ),
    (Section::Stats, "reply_buffer_shrinks", "reply buffers are not resized"),
    (Section::Stats, "reply_buffer_expands", "reply buffers are not resized"),
    (
        Section::Latencystats,
        "latency_percentiles_usec_NAME",
        "latencies are not tracked by command yet",
    ),
];

/// Returns the part of `docs/compatibility.md` about INFO.
pub fn compatibility_md() -> String {
    let mut out = String::from("| section | field | why |\n|---|---|---|\n");
    for (section, name, why) in ABSENT {
        let _ = writeln!(out, "| {} | `{name}` | {why} |", section.title());
    }
    out
}

/// Returns the text of `docs/info.md`.
pub fn info_md() -> String {
    let mut out = String::from(
        "# Fields of INFO\n\n\
         Generated from the rows in `crates/engine/src/info`; edit those instead.\n\n\
         Names and formats are those of Redis 7.2; *constant* marks a field whose \
         feature Russet lacks: it always has the value of an idle Redis. Fields of Redis 7.2 that \
         Russet omits are listed in [compatibility.md](compatibility.md).\n",
    );
    for section in Section::ALL {
        let _ = writeln!(out, "\n## {}\n", section.title());
        out.push_str(match section.shown() {
            Shown::Default if section == Section::Sentinel => {
                "Of a Sentinel, which has only this section and those about server, clients, stats and CPU.\n\n"
            }
            Shown::Default => "",
            Shown::All => "In `INFO all`, `INFO everything`, or by name.\n\n",
            Shown::Everything => "In `INFO everything`, or by name. Not a section of Redis.\n\n",
        });
        let mut rows = fields().filter(|field| field.section == section).peekable();
        if rows.peek().is_none() {
            out.push_str("Always empty.\n");
            continue;
        }
        out.push_str("| field | kind | description |\n|---|---|---|\n");
        for row in rows {
            let kind = format!("{:?}", row.kind).to_lowercase();
            let note = match row.source {
                Source::Read(_) => String::new(),
                Source::Always(value) => format!(" *Constant: {value}.*"),
            };
            let description = row.description.replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {kind} | {description}{note} |", row.name);
        }
    }
    out
}
