//! A simulated server: what it says of itself, and how it takes commands. It holds no data, only an offset.

/// How long a replica needs to connect to a master and to synchronize.
const SYNC_MS: u64 = 300;

/// A server.
#[derive(Clone, Debug)]
pub struct Server {
    pub port: u16,
    pub is_up: bool,
    /// Until when its process is stopped.
    pub paused_until: u64,
    /// The master that it follows.
    pub master: Option<u16>,
    pub run_id: String,
    pub offset: u64,
    pub priority: u32,
    pub lineage: String,
    pub former_lineage: String,
    /// When the link to its master is or was up, and since when it is down.
    pub link_up_at: u64,
    pub link_down_since: u64,
    /// Its reply to PING, if that is not PONG.
    pub ping: Option<String>,
    /// Whether it executes SLAVEOF.
    pub obeys: bool,
    /// Its reply to FAILOVER, if that is an error.
    pub refuses: Option<String>,
    pub password: Option<String>,
    starts: u32,
}

/// Returns an id of 40 characters that begins with this text.
pub fn id(text: &str) -> String {
    format!("{text:0<40}")
}

impl Server {
    pub fn new(port: u16, master: Option<u16>, now: u64) -> Server {
        Server {
            port,
            is_up: true,
            paused_until: 0,
            master,
            run_id: id(&format!("run{port}x1x")),
            offset: 1000,
            priority: 100,
            lineage: id("history1x"),
            former_lineage: id(""),
            link_up_at: now,
            link_down_since: now,
            ping: None,
            obeys: true,
            refuses: None,
            password: None,
            starts: 1,
        }
    }

    /// Starts it again, with another run id.
    pub fn restart(&mut self, now: u64) {
        self.starts += 1;
        self.run_id = id(&format!("run{}x{}x", self.port, self.starts));
        (self.is_up, self.link_up_at, self.link_down_since) = (true, now + SYNC_MS, now);
    }

    /// Changes its role.
    pub fn follow(&mut self, master: Option<u16>, now: u64) {
        if master == self.master || !self.obeys {
            return;
        }
        if master.is_none() {
            self.former_lineage =
                std::mem::replace(&mut self.lineage, id(&format!("of{}x", self.port)));
        }
        (self.master, self.link_up_at, self.link_down_since) = (master, now + SYNC_MS, now);
    }

    /// Sets what a script says of it.
    pub fn set(&mut self, key: &str, value: &str, now: u64) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{value} is no number"));
        let text = || Some(value.replace('_', " ")).filter(|text| text != "no");
        match key {
            "offset" => self.offset = number(),
            "priority" => self.priority = u32::try_from(number()).expect("a small number"),
            "lineage" => self.lineage = id(value),
            "run" => self.run_id = id(value),
            "link-down" => {
                self.link_up_at = u64::MAX;
                self.link_down_since = now.saturating_sub(number() * 1000);
            }
            "follows" => {
                self.master = (value != "nobody").then(|| value.parse().expect("a port"));
                self.link_up_at = now;
            }
            "ping" => self.ping = text(),
            "obeys" => self.obeys = value == "yes",
            "refuses" => self.refuses = text(),
            "password" => self.password = text(),
            _ => panic!("a server has no {key}"),
        }
    }

    /// Returns its INFO. `master` is the server that it follows, if that can be reached; `replicas` those that follow it.
    pub fn info(&self, now: u64, master: Option<&Server>, replicas: &[u16]) -> String {
        let mut lines = vec![format!("run_id:{}", self.run_id)];
        match self.master {
            None => {
                lines.push("role:master".to_owned());
                for (index, port) in replicas.iter().enumerate() {
                    lines.push(format!("slave{index}:ip=127.0.0.1,port={port},state=online"));
                }
            }
            Some(port) => {
                let is_up = master.is_some() && now >= self.link_up_at;
                lines.push("role:slave".to_owned());
                lines.push(format!("master_host:127.0.0.1\r\nmaster_port:{port}"));
                lines.push(format!("master_link_status:{}", if is_up { "up" } else { "down" }));
                if !is_up {
                    let secs = now.saturating_sub(self.link_down_since) / 1000;
                    lines.push(format!("master_link_down_since_seconds:{secs}"));
                }
                lines.push(format!("slave_repl_offset:{}", self.offset));
                lines.push(format!("slave_priority:{}", self.priority));
            }
        }
        lines.push(format!("master_replid:{}", self.lineage));
        lines.push(format!("master_replid2:{}", self.former_lineage));
        lines.push(format!("master_repl_offset:{}", self.offset));
        lines.join("\r\n") + "\r\n"
    }
}
