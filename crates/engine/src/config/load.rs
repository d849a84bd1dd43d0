//! Loads a configuration: its sources, lines and `include`.
//!
//! The texts come from the driver: a file, standard input, the options of the command line; included
//! files come through a callback. Any input results in a configuration or in an error that lists
//! every refused line (`refusal.rs`), with limits on line length, depth, number of files and size.

use std::rc::Rc;

use super::directives::{DIRECTIVES, Directive, Status};
use super::file_only::{self, Treatment};
use super::grammar::{LINE_BYTES_MAX, VALUE_BYTES_MAX, split_words, trim};
use super::password::{Hash, Password};
use super::refusal::{
    FatalError, Mention, Place, REFUSED_LINES_MAX, Reason, RefusedLine, Source, Unreadable,
    near_name,
};
use super::sentinel::{SentinelLine, SentinelLines, said_by};
use super::value::{Origin, Refusal};
use super::{Config, directive_index};
use crate::mode::Mode;

/// Maximum nesting of `include`.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Maximum number of included files.
pub const INCLUDED_FILES_MAX: usize = 1024;
/// Maximum size of a configuration with all included files, in bytes.
pub const TOTAL_BYTES_MAX: usize = 64 << 20;

/// A file read for `include`.
#[derive(Debug, Clone)]
pub struct IncludedFile {
    /// Its path, for messages.
    pub path: Vec<u8>,
    /// Its contents.
    pub text: Vec<u8>,
}

/// Reads the files that an argument of `include` matches, in alphabetical order.
///
/// The first argument is the directory for relative paths: the value of `dir` so far, since Redis
/// changes to `dir` when it reads that line. A pattern with `*`, `?` or `[` may match no file; an
/// unreadable file is an error.
pub type ReadFiles<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Vec<IncludedFile>, Unreadable> + 'a;

/// A configuration with the warnings to log.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// One line for each accepted directive that has no effect.
    pub warnings: Vec<String>,
    /// In Sentinel mode: the lines about masters.
    pub sentinel: Option<SentinelLines>,
    mentions: Vec<Option<Mention>>,
}

impl Loaded {
    /// Returns the error for directives whose values could not be applied, with the reason for each.
    /// None if no line set one of them.
    pub fn refusal(&self, reasons: &[(&str, String)]) -> Option<FatalError> {
        let line = |(name, reason): &(&str, String)| {
            let mention = self.mentions[directive_index(name.as_bytes())?].as_ref()?;
            Some(mention.refuse(reason.as_str()))
        };
        let lines: Option<Vec<RefusedLine>> = reasons.iter().map(line).collect();
        lines.filter(|lines| !lines.is_empty()).map(FatalError::lines)
    }
}

struct Loader<'a> {
    config: Config,
    warnings: Vec<String>,
    mentions: Vec<Option<Mention>>,
    mode: Mode,
    /// The lines about masters, of which only a Sentinel has any.
    sentinel: Vec<SentinelLine>,
    /// The line of the default user, and its password.
    user: Option<(Mention, Option<Hash>)>,
    refused: Vec<RefusedLine>,
    /// The first included file that can't be read.
    unreadable: Option<Unreadable>,
    /// Whether the rest is not read.
    is_stopped: bool,
    lines: usize,
    files_left: usize,
    bytes_left: usize,
    read_files: &'a mut ReadFiles<'a>,
}

impl Config {
    /// Parses a configuration of these sources, starting from the defaults.
    pub fn parse<'a>(
        sources: &[Source],
        read_files: &'a mut ReadFiles<'a>,
    ) -> Result<Loaded, FatalError> {
        Config::parse_for(Mode::Standalone, sources, read_files)
    }

    /// Parses a configuration of these sources for a node of this mode.
    pub fn parse_for<'a>(
        mode: Mode,
        sources: &[Source],
        read_files: &'a mut ReadFiles<'a>,
    ) -> Result<Loaded, FatalError> {
        let mut loader = Loader::new(mode, read_files);
        for source in sources {
            loader.text(&source.text, source.place.clone(), 0);
        }
        loader.finish()
    }

    /// Parses a configuration and ignores what is refused.
    pub(super) fn parse_leniently<'a>(
        mode: Mode,
        text: &[u8],
        read_files: &'a mut ReadFiles<'a>,
    ) -> Config {
        let mut loader = Loader::new(mode, read_files);
        loader.text(text, Place::Text, 0);
        loader.config.clamp();
        if let Some((_, hash)) = loader.user.take() {
            let _ = loader.set_password(hash);
        }
        loader.config
    }

    /// Parses a configuration without includes.
    pub fn parse_text(text: &[u8]) -> Result<Loaded, FatalError> {
        let source = Source { place: Place::Text, text: text.to_vec() };
        Config::parse(&[source], &mut |_, word| {
            let reason = "No such file or directory".to_owned();
            Err(Unreadable { path: word.to_vec(), reason })
        })
    }
}

impl<'a> Loader<'a> {
    fn new(mode: Mode, read_files: &'a mut ReadFiles<'a>) -> Loader<'a> {
        Loader {
            config: Config::default_of(mode),
            mode,
            sentinel: Vec::new(),
            warnings: Vec::new(),
            mentions: vec![None; DIRECTIVES.len()],
            user: None,
            refused: Vec::new(),
            unreadable: None,
            is_stopped: false,
            lines: 0,
            files_left: INCLUDED_FILES_MAX,
            bytes_left: TOTAL_BYTES_MAX,
            read_files,
        }
    }
}

impl Loader<'_> {
    fn text(&mut self, text: &[u8], place: Place, depth: usize) {
        let place = Rc::new(place);
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = trim(line);
            if self.is_stopped {
                return;
            }
            let Some(line) = said_by(self.mode, line) else { continue };
            self.lines += 1;
            let (place, order) = (place.clone(), self.lines);
            let mention = Mention { place, number: at + 1, text: line.to_vec(), order };
            if let Err(reason) = self.line(&mention, depth) {
                self.refused.push(mention.refuse(reason));
            }
            self.is_stopped |= self.refused.len() >= REFUSED_LINES_MAX;
        }
    }

    fn line(&mut self, mention: &Mention, depth: usize) -> Result<(), Reason> {
        const WRONG: &str = "Bad directive or wrong number of arguments";
        if mention.text.len() > LINE_BYTES_MAX {
            return Err("Configuration line is too long".into());
        }
        if mention.text.contains(&0) {
            self.is_stopped = true; // a file of another kind
            return Err("Configuration line contains a NUL byte".into());
        }
        let words = split_words(&mention.text).ok_or("Unbalanced quotes in configuration line")?;
        let Some((name, words)) = words.split_first() else {
            return Ok(());
        };
        if let Some(index) = directive_index(name) {
            Ok(self.directive(index, words, mention)?)
        } else if let Some(row) = file_only::find(name) {
            if words.len() < row.words_min || words.len() > row.words_max {
                return Err(WRONG.into());
            }
            self.file_only(row, words, mention, depth)
        } else if name.contains(&b'.') {
            Err(Reason::missing("Module configuration without a module: modules can't be loaded"))
        } else if let Some(meant) = near_name(name) {
            Err(format!("{WRONG}. Did you mean '{meant}'?").into())
        } else {
            Err(WRONG.into())
        }
    }

    fn directive(
        &mut self,
        index: usize,
        words: &[Vec<u8>],
        mention: &Mention,
    ) -> Result<(), Refusal> {
        let row = &DIRECTIVES[index];
        let origin = match self.mentions[index] {
            Some(_) => Origin::LaterLine,
            None => Origin::FirstLine,
        };
        let respelled;
        let words = match words {
            // A single argument with spaces is split: `save "900 1 300 10"`.
            [word] if row.kind.takes_words() && !word.is_empty() => {
                respelled = split_words(word).ok_or("Unbalanced quotes in configuration line")?;
                &respelled
            }
            _ => words,
        };
        if !row.kind.takes_words() && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        if words.iter().map(|word| word.len() + 1).sum::<usize>() > VALUE_BYTES_MAX {
            return Err("argument is too long".into());
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let dir_before = self.config.dir.clone();
        (row.assign)(&mut self.config, &words, origin)?;
        if row.name == "dir" && origin == Origin::LaterLine {
            self.enter_from(&dir_before)?;
        }
        self.mentions[index] = Some(mention.clone());
        Ok(())
    }

    /// Resolves a relative `dir` against the value of an earlier line.
    fn enter_from(&mut self, before: &[u8]) -> Result<(), Refusal> {
        if !self.config.dir.starts_with(b"/") {
            self.config.dir = [before, b"/", &self.config.dir].concat();
        }
        match self.config.dir.len() < VALUE_BYTES_MAX {
            true => Ok(()),
            false => Err("argument is too long".into()),
        }
    }

    fn file_only(
        &mut self,
        row: &file_only::FileOnly,
        words: &[Vec<u8>],
        mention: &Mention,
        depth: usize,
    ) -> Result<(), Reason> {
        match row.treatment {
            Treatment::Include => self.include(&words[0], depth),
            Treatment::Refused(reason) => Err(Reason::missing(reason)),
            Treatment::User => {
                let hash = file_only::default_user(words).map_err(Reason::missing)?;
                if self.user.is_some() {
                    return Err("Duplicate user found".into());
                }
                self.user = Some((mention.clone(), hash));
                Ok(())
            }
            Treatment::Sentinel if words.is_empty() => Ok(()),
            Treatment::Sentinel if self.mode == Mode::Sentinel => {
                self.sentinel.push(SentinelLine::new(mention.clone(), words.to_vec()));
                Ok(())
            }
            Treatment::Sentinel => Err("sentinel directive while not in sentinel mode".into()),
            Treatment::Ignored => {
                self.warnings
                    .push(format!("Configuration directive '{}' has no effect.", row.name));
                Ok(())
            }
        }
    }

    fn include(&mut self, word: &[u8], depth: usize) -> Result<(), Reason> {
        if depth >= INCLUDE_DEPTH_MAX {
            self.is_stopped = true;
            return Err("Files include each other too deeply".into());
        }
        let files = (self.read_files)(&self.config.dir, word).map_err(|unreadable| {
            self.unreadable.get_or_insert_with(|| unreadable.clone());
            unreadable.to_string()
        })?;
        for file in files {
            let left =
                (self.files_left.checked_sub(1), self.bytes_left.checked_sub(file.text.len()));
            let (Some(files_left), Some(bytes_left)) = left else {
                self.is_stopped = true;
                return Err("Too much is included".into());
            };
            (self.files_left, self.bytes_left) = (files_left, bytes_left);
            self.text(&file.text, Place::File(file.path), depth + 1);
        }
        Ok(())
    }

    /// Validates the last line of each directive, so that a later line or the command line can
    /// override a refused one.
    fn finish(mut self) -> Result<Loaded, FatalError> {
        self.config.clamp();
        let default = Config::default_of(self.mode);
        for (row, mention) in DIRECTIVES.iter().zip(&self.mentions) {
            let Some(mention) = mention else { continue };
            match validate(row, &mention.name(), &self.config, &default) {
                Validation::Ok => {}
                Validation::Warning(warning) => self.warnings.push(warning),
                Validation::Refused(reason) => {
                    self.refused.push(mention.refuse(Reason::missing(reason)));
                }
            }
        }
        if self.config.cluster_enabled && self.config.replicaof.is_some() {
            // Whom it replicates is decided by the cluster.
            let line =
                directive_index(b"replicaof").and_then(|index| self.mentions[index].as_ref());
            let refuse =
                |line: &Mention| line.refuse("replicaof directive not allowed in cluster mode");
            self.refused.extend(line.map(refuse));
        }
        if let Some((mention, hash)) = self.user.take()
            && let Err(reason) = self.set_password(hash)
        {
            self.refused.push(mention.refuse(reason));
        }
        let lines = std::mem::take(&mut self.sentinel);
        let sentinel = SentinelLines::read(lines).map_err(|line| self.refused.push(*line)).ok();
        let sentinel = sentinel.filter(|_| self.mode == Mode::Sentinel);
        let Loader { config, warnings, mentions, .. } = self;
        match (self.unreadable, self.refused.len()) {
            (_, 0) => Ok(Loaded { config, warnings, sentinel, mentions }),
            (Some(unreadable), 1) => Err(FatalError::Unreadable(unreadable)),
            _ => Err(FatalError::lines(self.refused)),
        }
    }

    /// Sets the password of the line of the default user.
    fn set_password(&mut self, hash: Option<Hash>) -> Result<(), &'static str> {
        let password = &mut self.config.requirepass;
        match hash {
            None if !password.is_empty() => {
                Err("This line removes the password set by 'requirepass': remove one of them")
            }
            Some(hash) if !password.is_empty() && password.hash() != hash => {
                Err("This line and 'requirepass' set different passwords: remove one of them")
            }
            Some(hash) if password.is_empty() => {
                *password = Password::Hash(hash);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// How the value of an unimplemented directive is treated.
pub(super) enum Validation {
    Ok,
    Warning(String),
    Refused(String),
}

/// Checks a value of a directive that may not be implemented.
/// `name` is its name as the user wrote it, which may be an old one.
pub(super) fn validate(
    row: &Directive,
    name: &str,
    config: &Config,
    default: &Config,
) -> Validation {
    let (Status::NotImplemented(_) | Status::Refused(..)) = row.status else {
        return Validation::Ok;
    };
    let usual = (row.text)(default);
    if (row.text)(config) == usual {
        return Validation::Ok;
    }
    let usual = String::from_utf8_lossy(&usual);
    if let Status::Refused(_, loss) = row.status {
        return Validation::Refused(format!(
            "'{name}' is not implemented in Russet yet: {loss}. Only its default '{usual}' is accepted"
        ));
    }
    Validation::Warning(format!(
        "Configuration directive '{name}' is accepted but not implemented yet: it has no effect."
    ))
}
