//! What INFO of a server says. Unknown lines are skipped; the text is a claim of a peer, so nothing in it is trusted with
//! more than its own line.

use crate::settings::LINEAGE_LEN;

/// The role of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Replica,
}

impl Role {
    /// Returns Redis' name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "slave",
        }
    }
}

/// Replicas of one INFO that are looked at.
const REPLICAS_MAX: usize = 1000;

/// What Sentinels read from INFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub run_id: Option<String>,
    pub role: Option<Role>,
    /// Addresses of the replicas of a master.
    pub replicas: Vec<(String, u16)>,
    pub master_host: Option<String>,
    pub master_port: Option<u16>,
    pub is_link_up: bool,
    /// How long the link to the master has been down, milliseconds.
    pub link_down_ms: u64,
    pub priority: Option<u32>,
    pub offset: Option<u64>,
    /// The offset of its own stream, as a master.
    pub own_offset: Option<u64>,
    pub is_announced: Option<bool>,
    /// Replication ids: of the history that it has now, and of that before.
    pub lineage: Option<String>,
    pub former_lineage: Option<String>,
    /// Whether it loads its data.
    pub is_loading: bool,
}

impl Info {
    /// Parses the text of INFO.
    pub fn parse(text: &str) -> Info {
        let mut info = Info::default();
        for line in text.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            info.field(name, value);
        }
        info
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "run_id" => self.run_id = id(value),
            "role" => {
                self.role = match value {
                    "master" => Some(Role::Master),
                    "slave" => Some(Role::Replica),
                    _ => None,
                }
            }
            "master_host" => self.master_host = Some(value.to_owned()),
            "master_port" => self.master_port = value.parse().ok(),
            "master_link_status" => self.is_link_up = value == "up",
            "master_link_down_since_seconds" => {
                // -1 if it never was up since the replica started: for how long is not known.
                let secs = value.parse::<i64>().unwrap_or_default();
                self.link_down_ms = u64::try_from(secs).map_or(1, |s| s.saturating_mul(1000));
            }
            "slave_priority" => self.priority = value.parse().ok(),
            "slave_repl_offset" => self.offset = value.parse().ok(),
            "master_repl_offset" => self.own_offset = value.parse().ok(),
            "replica_announced" => self.is_announced = Some(value != "0"),
            "master_replid" => self.lineage = id(value),
            "master_replid2" => {
                self.former_lineage = id(value).filter(|id| id.contains(|c| c != '0'))
            }
            "loading" => self.is_loading = value == "1",
            _ if self.replicas.len() < REPLICAS_MAX => self.replicas.extend(replica(name, value)),
            _ => {}
        }
    }
}

/// Returns a run id or a replication id, which are of the same form.
fn id(value: &str) -> Option<String> {
    let id = value.get(..LINEAGE_LEN)?;
    id.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| id.to_owned())
}

/// Parses `slave0:ip=127.0.0.1,port=6380,state=online,…`, or `slave0:127.0.0.1,6380,online` of old servers.
fn replica(name: &str, value: &str) -> Option<(String, u16)> {
    let number = name.strip_prefix("slave")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |key: &str| value.split(',').find_map(|part| part.strip_prefix(key));
    let (host, port) = match (field("ip="), field("port=")) {
        (Some(host), Some(port)) => (host, port),
        _ => {
            let mut parts = value.split(',');
            (parts.next()?, parts.next()?)
        }
    };
    Some((host.to_owned(), port.parse().ok().filter(|&port| port > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_roles_and_skips_the_rest() {
        let run_id = "a".repeat(40);
        let text = format!(
            "# Server\r\nrun_id:{run_id}\r\nrole:master\r\nslave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\n\
             slave1:10.0.0.3,6381,online\r\nslave_x:1,2\r\nslave2:ip=,port=0\r\nnonsense\r\nmaster_replid:{run_id}\r\n\
             master_replid2:{}\r\n",
            "0".repeat(40)
        );
        let info = Info::parse(&text);
        assert_eq!(info.replicas, [("10.0.0.2".to_owned(), 6380), ("10.0.0.3".to_owned(), 6381)]);
        assert_eq!(
            (info.role, info.run_id.as_deref()),
            (Some(Role::Master), Some(run_id.as_str()))
        );
        assert_eq!((info.lineage.is_some(), info.former_lineage), (true, None));

        let text = "role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nmaster_link_status:down\r\n\
                    master_link_down_since_seconds:-1\r\nslave_priority:7\r\nslave_repl_offset:99\r\n";
        let info = Info::parse(text);
        assert_eq!(
            (info.role, info.priority, info.offset),
            (Some(Role::Replica), Some(7), Some(99))
        );
        assert_eq!((info.link_down_ms, info.is_link_up), (1, false));
    }
}
