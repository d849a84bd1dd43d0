//! Loads a configuration: lines, `include`, and errors.
//!
//! The text comes from the driver (file, standard input and command line joined by
//! [`CommandLine::whole_text`](super::grammar::CommandLine::whole_text)); included files come
//! through a callback. Any input results in a configuration or in one clear error, with limits on
//! line length, depth, number of files and total size.

use std::fmt;

use super::directives::{DIRECTIVES, Directive, Status};
use super::file_only::{self, Treatment};
use super::grammar::{LINE_BYTES_MAX, VALUE_BYTES_MAX, split_words, trim};
use super::password::{Hash, Password};
use super::value::{Origin, Refusal};
use super::{Config, directive_index};

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
/// unreadable file is [`FatalError::Unreadable`].
pub type ReadFiles<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Vec<IncludedFile>, FatalError> + 'a;

/// A configuration with the warnings to log.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// One line for each accepted directive that has no effect.
    pub warnings: Vec<String>,
    mentions: Vec<Option<Mention>>,
}

impl Loaded {
    /// Returns the error for a directive whose value could not be applied. None if no line set it.
    pub fn refusal(&self, directive: &str, message: &str) -> Option<FatalError> {
        let index = directive_index(directive.as_bytes())?;
        self.mentions[index].as_ref().map(|mention| mention.refuse(message))
    }
}

/// Why a configuration was refused. Its text is that of Redis before it exits: a block about a
/// line, or a log line about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FatalError {
    /// A line is invalid.
    Line {
        /// The included file that contains it, if any.
        file: Option<Vec<u8>>,
        /// Its line number, from 1.
        number: usize,
        /// The line itself, trimmed.
        text: Vec<u8>,
        /// The reason.
        message: String,
    },
    /// An included file can't be read.
    Unreadable {
        /// Its path.
        path: Vec<u8>,
        /// The operating system's reason.
        reason: String,
    },
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FatalError::Line { file, number, text, message } => {
                writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***")?;
                writeln!(f, "Reading the configuration file, at line {number}")?;
                writeln!(f, ">>> '{}'", String::from_utf8_lossy(text))?;
                writeln!(f, "{message}")?;
                match file {
                    Some(path) => {
                        writeln!(f, "(in the included file '{}')", String::from_utf8_lossy(path))
                    }
                    None => Ok(()),
                }
            }
            FatalError::Unreadable { path, reason } => {
                let path = String::from_utf8_lossy(path);
                write!(f, "Fatal error, can't open config file '{path}': {reason}")
            }
        }
    }
}

impl std::error::Error for FatalError {}

/// The last line that sets a directive.
#[derive(Debug, Clone)]
struct Mention {
    file: Option<Vec<u8>>,
    number: usize,
    text: Vec<u8>,
}

impl Mention {
    /// Returns the directive's name as it was written.
    fn name(&self) -> String {
        let words = split_words(&self.text).unwrap_or_default();
        words.first().map_or(String::new(), |name| String::from_utf8_lossy(name).into_owned())
    }

    fn refuse(&self, message: &str) -> FatalError {
        let Mention { file, number, text } = self.clone();
        // Limits the error message.
        let text = text[..text.len().min(1024)].to_vec();
        FatalError::Line { file, number, text, message: message.to_owned() }
    }
}

struct Loader<'a> {
    config: Config,
    warnings: Vec<String>,
    mentions: Vec<Option<Mention>>,
    /// The line of the default user, and its password.
    user: Option<(Mention, Option<Hash>)>,
    files_left: usize,
    bytes_left: usize,
    read_files: &'a mut ReadFiles<'a>,
}

impl Config {
    /// Parses a configuration, starting from the defaults.
    pub fn parse<'a>(text: &[u8], read_files: &'a mut ReadFiles<'a>) -> Result<Loaded, FatalError> {
        let mut loader = Loader {
            config: Config::default(),
            warnings: Vec::new(),
            mentions: vec![None; DIRECTIVES.len()],
            user: None,
            files_left: INCLUDED_FILES_MAX,
            bytes_left: TOTAL_BYTES_MAX,
            read_files,
        };
        loader.text(text, None, 0)?;
        loader.finish()
    }

    /// Parses a configuration without includes.
    pub fn parse_text(text: &[u8]) -> Result<Loaded, FatalError> {
        Config::parse(text, &mut |_, word| {
            let reason = "No such file or directory".to_owned();
            Err(FatalError::Unreadable { path: word.to_vec(), reason })
        })
    }
}

impl Loader<'_> {
    fn text(&mut self, text: &[u8], file: Option<&[u8]>, depth: usize) -> Result<(), FatalError> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = trim(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mention =
                Mention { file: file.map(<[u8]>::to_vec), number: at + 1, text: line.to_vec() };
            self.line(&mention, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, mention: &Mention, depth: usize) -> Result<(), FatalError> {
        let refuse = |message: &str| mention.refuse(message);
        if mention.text.len() > LINE_BYTES_MAX {
            return Err(refuse("Configuration line is too long"));
        }
        if mention.text.contains(&0) {
            return Err(refuse("Configuration line contains a NUL byte"));
        }
        let words = split_words(&mention.text);
        let words = words.ok_or_else(|| refuse("Unbalanced quotes in configuration line"))?;
        let Some((name, words)) = words.split_first() else {
            return Ok(());
        };
        if let Some(index) = directive_index(name) {
            self.directive(index, words, mention).map_err(|message| refuse(&message))
        } else if let Some(row) = file_only::find(name) {
            if words.len() < row.words_min || words.len() > row.words_max {
                return Err(refuse("Bad directive or wrong number of arguments"));
            }
            self.file_only(row, words, mention, depth)
        } else if name.contains(&b'.') {
            Err(refuse("Module configuration without a module: modules can't be loaded"))
        } else {
            Err(refuse("Bad directive or wrong number of arguments"))
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
    ) -> Result<(), FatalError> {
        match row.treatment {
            Treatment::Include => self.include(&words[0], mention, depth),
            Treatment::Refused(reason) => Err(mention.refuse(reason)),
            Treatment::User => {
                let hash =
                    file_only::default_user(words).map_err(|reason| mention.refuse(&reason))?;
                if self.user.is_some() {
                    return Err(mention.refuse("Duplicate user found"));
                }
                self.user = Some((mention.clone(), hash));
                Ok(())
            }
            Treatment::Sentinel if words.is_empty() => Ok(()),
            Treatment::Sentinel => {
                Err(mention.refuse("sentinel directive while not in sentinel mode"))
            }
            Treatment::Ignored => {
                self.warnings
                    .push(format!("Configuration directive '{}' has no effect.", row.name));
                Ok(())
            }
        }
    }

    fn include(&mut self, word: &[u8], mention: &Mention, depth: usize) -> Result<(), FatalError> {
        if depth >= INCLUDE_DEPTH_MAX {
            return Err(mention.refuse("Files include each other too deeply"));
        }
        for file in (self.read_files)(&self.config.dir, word)? {
            let left =
                (self.files_left.checked_sub(1), self.bytes_left.checked_sub(file.text.len()));
            let (Some(files_left), Some(bytes_left)) = left else {
                return Err(mention.refuse("Too much is included"));
            };
            (self.files_left, self.bytes_left) = (files_left, bytes_left);
            self.text(&file.text, Some(&file.path), depth + 1)?;
        }
        Ok(())
    }

    /// Validates the last line of each directive, so that a later line or the command line can
    /// override a refused one.
    fn finish(mut self) -> Result<Loaded, FatalError> {
        self.config.clamp();
        let default = Config::default();
        for (row, mention) in DIRECTIVES.iter().zip(&self.mentions) {
            let Some(mention) = mention else { continue };
            match validate(row, &mention.name(), &self.config, &default) {
                Validation::Ok => {}
                Validation::Warning(warning) => self.warnings.push(warning),
                Validation::Refused(reason) => return Err(mention.refuse(&reason)),
            }
        }
        if let Some((mention, hash)) = &self.user {
            let password = &mut self.config.requirepass;
            match hash {
                None if !password.is_empty() => {
                    return Err(mention.refuse(
                        "This line removes the password set by 'requirepass': remove one of them",
                    ));
                }
                Some(hash) if !password.is_empty() && password.hash() != *hash => {
                    return Err(mention.refuse(
                        "This line and 'requirepass' set different passwords: remove one of them",
                    ));
                }
                Some(hash) if password.is_empty() => *password = Password::Hash(*hash),
                _ => {}
            }
        }
        Ok(Loaded { config: self.config, warnings: self.warnings, mentions: self.mentions })
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
    let Status::NotImplemented(impact) = row.status else {
        return Validation::Ok;
    };
    let usual = (row.text)(default);
    if (row.text)(config) == usual {
        return Validation::Ok;
    }
    let usual = String::from_utf8_lossy(&usual);
    if impact.is_refused() {
        let impact = format!("{impact:?}").to_lowercase();
        return Validation::Refused(format!(
            "'{name}' affects {impact} and is not implemented yet: only its default '{usual}' is accepted"
        ));
    }
    Validation::Warning(format!(
        "Configuration directive '{name}' is accepted but not implemented yet: it has no effect."
    ))
}
