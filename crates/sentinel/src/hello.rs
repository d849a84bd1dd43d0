//! Hello messages, by which Sentinels find each other and agree on the newest configuration.
//!
//! ```text
//!   127.0.0.1,26379,<id>,<current epoch>,mymaster,127.0.0.1,6379,<configuration epoch>
//!   └──────── the sender ──────────────┘ └───────────── a master ───────────────────┘
//! ```
//!
//! They travel over a channel to which any client of a monitored server may publish, so a message is only a claim: a
//! Sentinel that it introduces counts as a voter, but votes are only taken from the connection that we opened to it.

/// A hello message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub host: String,
    pub port: u16,
    pub id: String,
    pub epoch: u64,
    pub master: String,
    pub master_host: String,
    pub master_port: u16,
    pub config_epoch: u64,
}

/// Limit of a message.
const LEN_MAX: usize = 4096;

impl Hello {
    /// Parses a message.
    pub fn parse(message: &[u8]) -> Option<Hello> {
        if message.len() > LEN_MAX {
            return None;
        }
        let text = std::str::from_utf8(message).ok()?;
        let fields: Vec<&str> = text.split(',').collect();
        let [host, port, id, epoch, master, master_host, master_port, config_epoch] =
            <[&str; 8]>::try_from(fields).ok()?;
        let is_word =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_ascii_control());
        let are_words = [host, id, master, master_host].into_iter().all(is_word);
        are_words.then_some(())?;
        // A port of 0 is nowhere.
        let parse_port = |text: &str| text.parse().ok().filter(|&port: &u16| port > 0);
        Some(Hello {
            host: host.to_owned(),
            port: parse_port(port)?,
            id: id.to_owned(),
            epoch: epoch.parse().ok()?,
            master: master.to_owned(),
            master_host: master_host.to_owned(),
            master_port: parse_port(master_port)?,
            config_epoch: config_epoch.parse().ok()?,
        })
    }

    /// Returns the message.
    pub fn text(&self) -> String {
        let Hello { host, port, id, epoch, master, master_host, master_port, config_epoch } = self;
        format!("{host},{port},{id},{epoch},{master},{master_host},{master_port},{config_epoch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let text = "10.0.0.1,26379,abc,7,mymaster,10.0.0.2,6379,6";
        let hello = Hello::parse(text.as_bytes()).unwrap();
        assert_eq!(hello.text(), text);
        for bad in [
            "10.0.0.1,26379,abc,7,mymaster,10.0.0.2,6379",
            "10.0.0.1,26379,abc,7,mymaster,10.0.0.2,6379,6,8",
            "10.0.0.1,0,abc,7,mymaster,10.0.0.2,6379,6",
            "10.0.0.1,26379,abc,7,mymaster,10.0.0.2,0,6",
            "10.0.0.1,26379,abc,-7,mymaster,10.0.0.2,6379,6",
            "10.0.0.1,26379,,7,mymaster,10.0.0.2,6379,6",
            "10.0.0.1,26379,a\nc,7,mymaster,10.0.0.2,6379,6",
        ] {
            assert_eq!(Hello::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
