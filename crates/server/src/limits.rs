//! The limit of file descriptors, which bounds `maxclients`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::log;
use crate::sys::error_text;

/// Descriptors reserved for files, listeners, replication and the like.
const RESERVED: u64 = 32;

/// The result of raising the limit.
pub struct Allowed {
    /// Number of clients that fit, at most the requested number.
    pub clients: u32,
    /// The limit before.
    before: u64,
    /// The limit now.
    limit: u64,
    /// Why it could not be raised further.
    error: String,
}

/// Raises the limit of descriptors for this many clients, or as far as possible.
pub fn raise(clients: u32) -> Allowed {
    let wanted = u64::from(clients) + RESERVED;
    let old = getrlimit(Resource::Nofile);
    let before = old.current.unwrap_or(u64::MAX);
    let mut allowed = Allowed { clients, before, limit: before, error: String::new() };
    if before >= wanted {
        return allowed;
    }
    // Only root may also raise the hard limit.
    let most = old.maximum.unwrap_or(u64::MAX);
    for limit in [wanted, most.min(wanted)] {
        let new = Rlimit { current: Some(limit), maximum: Some(most.max(limit)) };
        match setrlimit(Resource::Nofile, new) {
            Ok(()) => {
                allowed.limit = limit;
                break;
            }
            Err(errno) => allowed.error = error_text(&errno.into()),
        }
    }
    if allowed.limit < wanted {
        let fit = allowed.limit.saturating_sub(RESERVED);
        allowed.clients = u32::try_from(fit).unwrap_or(clients).min(clients);
    }
    allowed
}

/// Raises the limit for `clients` at the start, logs the result, and returns how many fit.
/// `None`: too few to start at all.
pub fn adjust(clients: u32) -> Option<u32> {
    let wanted = u64::from(clients) + RESERVED;
    let Allowed { clients: fit, before, limit, error } = raise(clients);
    if fit == 0 {
        log::warning(&format!(
            "Your current 'ulimit -n' of {before} is not enough for the server to start. Please \
             increase your open file limit to at least {wanted}. Exiting."
        ));
        return None;
    }
    if fit < clients {
        log::warning(&format!(
            "You requested maxclients of {clients} requiring at least {wanted} max file descriptors."
        ));
        log::warning(&format!(
            "Server can't set maximum open files to {wanted} because of OS error: {error}."
        ));
        log::warning(&format!(
            "Current maximum open files is {limit}. maxclients has been reduced to {fit} to \
             compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
        ));
    } else if limit > before {
        log::notice(&format!(
            "Increased maximum number of open files to {limit} (it was originally set to {before})."
        ));
    }
    Some(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sufficient_limit_is_kept() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(raise(1).clients, 1);
        assert_eq!(getrlimit(Resource::Nofile), before);
    }
}
